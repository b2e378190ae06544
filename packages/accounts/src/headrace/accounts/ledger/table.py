"""The table of the ledger, in the database of the accounts."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from headrace.accounts.database.tables import ID_LENGTH, NAME_LENGTH, metadata

REQUEST_ID_LENGTH = 64
TARGET_LENGTH = 256
WORD_LENGTH = 64

# No foreign keys: what was used stays when a key or a tenant is gone, and writing a row asks for nothing.
usage = Table(
    "usage",
    metadata,
    Column("request_id", String(REQUEST_ID_LENGTH), primary_key=True),
    Column("tenant_id", String(ID_LENGTH), nullable=False),
    Column("key_id", String(ID_LENGTH), nullable=False),
    Column("model", String(NAME_LENGTH), nullable=False),
    Column("route", String(NAME_LENGTH), nullable=False),
    Column("target", String(TARGET_LENGTH), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("lane", String(WORD_LENGTH), nullable=False),
    Column("input_tokens", BigInteger, nullable=False),
    Column("output_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("reasoning_tokens", BigInteger, nullable=False),
    Column("cost_micros", BigInteger, nullable=False),
    Column("queue_ms", BigInteger),
    Column("first_token_ms", BigInteger),
    Column("total_ms", BigInteger, nullable=False),
    Column("outcome", String(WORD_LENGTH), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    # A report is of one tenant and a time, a budget of one key or tenant and a time, an operator's report of a time.
    Index("ix_usage_tenant_id", "tenant_id", "started_at"),
    Index("ix_usage_key_id", "key_id", "started_at"),
    Index("ix_usage_started_at", "started_at"),
)
