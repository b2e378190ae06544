"""What is in the database. Further rooms of the accounts add their tables to the same `metadata`.

Instants are whole milliseconds since 1970, which both databases compare alike. What grows from version to version is
one JSON text, read into a Struct that has a default for every field.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, MetaData, String, Table, Text

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID_LENGTH = 40
NAME_LENGTH = 128

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("name", String(NAME_LENGTH), nullable=False, unique=True),
    Column("created_at", BigInteger, nullable=False),
    Column("disabled_at", BigInteger),
    Column("limits", Text, nullable=False),
)

api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), ForeignKey("tenants.id"), nullable=False),
    Column("name", String(NAME_LENGTH), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
    Column("rights", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Index("ix_api_keys_tenant_id", "tenant_id"),
)

key_secrets = Table(
    "key_secrets",
    metadata,
    Column("prefix", String(NAME_LENGTH), primary_key=True),
    Column("key_id", String(ID_LENGTH), ForeignKey("api_keys.id", ondelete="CASCADE"), nullable=False),
    Column("hash", LargeBinary(64), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Index("ix_key_secrets_key_id", "key_id"),
)

# One row: the number of the newest change. Whoever changes something locks it, so numbers become visible in order.
change_counter = Table(
    "change_counter",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)

changes = Table(
    "changes",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("key_id", String(ID_LENGTH)),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", String(NAME_LENGTH), nullable=False),
    Column("action", String(ID_LENGTH), nullable=False),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("key_id", String(ID_LENGTH)),
    Column("before", Text),
    Column("after", Text),
    Index("ix_audit_entries_tenant_id", "tenant_id"),
)
