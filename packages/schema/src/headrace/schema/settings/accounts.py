"""Settings of the accounts: tenants, their keys, and the database that holds them."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from headrace.schema.settings.values import Seconds, Secret

DatabaseTls = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


class AccountsSettings(Struct, frozen=True, kw_only=True):
    """Who may use the gateway."""

    enabled: Annotated[
        bool,
        Meta(
            description="Whether every request needs the key of a tenant. If it is off, gateway.api_key alone guards "
            "the API; if it is on, that key goes on working, without limits."
        ),
    ] = False
    database_url: Annotated[
        str,
        Meta(
            description="`sqlite:///FILE` for the gateways of one machine, or `postgresql://HOST:PORT/DATABASE`; empty "
            "for the file accounts.sqlite3 in storage.folder. A password in it is refused in the file: see "
            "accounts.database_password."
        ),
    ] = ""
    database_username: Annotated[str, Meta(description="User name at PostgreSQL, if it is not in the URL.")] = ""
    database_password: Annotated[
        Secret | None, Meta(description="Password at PostgreSQL. Only from the environment or a file.")
    ] = None
    database_pool_size: Annotated[
        int, Meta(ge=1, le=1000, description="Most connections of one gateway to the database.")
    ] = 5
    database_timeout_seconds: Annotated[
        Seconds,
        Meta(
            description="How long to wait for a connection, for a statement, and for another writer; what takes longer "
            "counts as a database that is away."
        ),
    ] = 5.0
    database_tls: Annotated[
        DatabaseTls,
        Meta(
            description="TLS to PostgreSQL, in libpq's words; only verify-full is safe from an impostor between the "
            "gateway and the database."
        ),
    ] = "prefer"
    database_tls_ca: Annotated[
        str,
        Meta(description="File with the authorities that verify-ca and verify-full trust; empty for the system's."),
    ] = ""
    database_tls_certificate: Annotated[
        str, Meta(description="File with our own certificate and its key, where PostgreSQL asks for one.")
    ] = ""
    pepper: Annotated[
        Secret | None,
        Meta(
            description="What the hashes of keys are keyed with, 32 characters or more, the same for every gateway; "
            "without it no stored hash is worth anything. Only from the environment or a file. Unset with SQLite: "
            "made at the first start, and kept in storage.folder."
        ),
    ] = None
    admin_key: Annotated[
        Secret | None,
        Meta(
            description="Key of the admin API, 16 characters or more. Only from the environment or a file; without it "
            "there is no admin API."
        ),
    ] = None
    cached_keys: Annotated[
        int, Meta(ge=1, description="Most keys that a gateway knows by heart; the least used is forgotten first.")
    ] = 10_000
    poll_seconds: Annotated[
        float,
        Meta(gt=0, le=0.5, description="How often a gateway asks the database whether a key or a tenant has changed."),
    ] = 0.4
    stale_seconds: Annotated[
        Seconds,
        Meta(
            description="While the database is away, how long the keys that a gateway knows by heart go on working. "
            "Others get 503."
        ),
    ] = 300.0
