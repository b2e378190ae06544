"""The database of the accounts: how it is reached, what is in it, and how it becomes what this version needs.

Everything in the accounts that lasts goes through one `Database`. It is SQLite or PostgreSQL, and what is written for
it runs on both. Its failures are `HeadraceError`s with `accounts_unavailable` when they leave a `reading()` or a
`writing()`; only a broken constraint comes out as SQLAlchemy's `IntegrityError`, for the caller knows what it means.
"""

from headrace.accounts.database.address import DatabaseAddress, DatabaseKind, read_address
from headrace.accounts.database.database import Database
from headrace.accounts.database.migrate import MigrationStatus, migrate_database, read_status
from headrace.accounts.database.tables import metadata

__all__ = [
    "Database",
    "DatabaseAddress",
    "DatabaseKind",
    "MigrationStatus",
    "metadata",
    "migrate_database",
    "read_address",
    "read_status",
]
