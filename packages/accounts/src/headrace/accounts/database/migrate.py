"""Brings the database to what this version needs, at every start; replicas that start together take turns.

The steps are in `migrations/versions`, one file for each feature, and all that are missing run in one transaction: a
database is at one version or at another, never between two. PostgreSQL holds an advisory lock meanwhile, SQLite a lock
on a file beside it.
"""

import asyncio
import fcntl
import sqlite3
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from pathlib import Path

import asyncpg
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from msgspec import Struct
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from headrace.accounts.database.address import DatabaseAddress
from headrace.accounts.database.database import make_engine
from headrace.schema.errors import ErrorCode, HeadraceError

LOCK_SECONDS = 60.0
POLL_SECONDS = 0.05
# Any number that no other program uses for the same purpose in the same database.
LOCK_NUMBER = 0x48454144
_FOLDER = Path(__file__).parent / "migrations"
_log = structlog.get_logger("headrace.accounts")


class MigrationStatus(Struct, frozen=True):
    """Where a database stands.

    Attributes:
        current: its version; None for one that is empty.
        newest: what this version of Headrace needs.
    """

    current: str | None
    newest: str

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be done."""
        return self.current == self.newest


def migrate_database(address: DatabaseAddress) -> MigrationStatus:
    """Run what is missing, and return where the database stood before.

    It blocks, and runs an event loop of its own: call it in a thread where one runs already.

    Raises:
        HeadraceError: `accounts_unavailable`: the database can't be reached, or is newer than this version.
    """
    with _converted():
        if address.file is None:
            return asyncio.run(_migrate(address))
        address.file.parent.mkdir(parents=True, exist_ok=True)
        with _locked(address.file.with_name(f"{address.file.name}.lock")):
            _set_journal(address)
            return asyncio.run(_migrate(address))


def read_status(address: DatabaseAddress) -> MigrationStatus:
    """Return where a database stands, and change nothing; see `migrate_database`.

    Raises:
        HeadraceError: `accounts_unavailable`: the database can't be reached.
    """
    newest = _newest()
    if address.file is not None and not address.file.exists():
        return MigrationStatus(None, newest)
    with _converted():
        return asyncio.run(_read_status(address, newest))


@contextmanager
def _converted() -> Generator[None]:
    try:
        yield
    except CommandError:
        raise HeadraceError(
            ErrorCode.ACCOUNTS_UNAVAILABLE, "the database of the accounts was made by a newer version of Headrace"
        ) from None
    except (SQLAlchemyError, sqlite3.Error, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        # Only for the operator: neither clients nor their prompts are in it.
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise HeadraceError(
            ErrorCode.ACCOUNTS_UNAVAILABLE, f"the database of the accounts can't be used: {reason}"
        ) from None


@contextmanager
def _locked(path: Path) -> Generator[None]:
    deadline = time.monotonic() + LOCK_SECONDS
    with path.open("ab") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError("another process keeps its migrations locked") from None
                time.sleep(POLL_SECONDS)
        yield


def _set_journal(address: DatabaseAddress) -> None:
    # Readers never wait for the writer. It stays with the file, so nobody sets it again while others use it.
    with closing(sqlite3.connect(str(address.file), timeout=address.timeout_seconds)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")


async def _migrate(address: DatabaseAddress) -> MigrationStatus:
    engine = make_engine(address, pooled=False)
    try:
        async with engine.begin() as connection:
            if address.kind == "postgresql":
                await connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_SECONDS:g}s'"))
                await connection.execute(
                    text("SELECT pg_advisory_xact_lock(:number)"),
                    {"number": LOCK_NUMBER},
                )
            return await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> MigrationStatus:
    before = MigrationStatus(_current(connection), _newest())
    if not before.is_current:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        _log.info("accounts database migrated", before=before.current, after=before.newest)
    return before


async def _read_status(address: DatabaseAddress, newest: str) -> MigrationStatus:
    engine = make_engine(address, pooled=False)
    try:
        async with engine.connect() as connection:
            return MigrationStatus(await connection.run_sync(_current), newest)
    finally:
        await engine.dispose()


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _newest() -> str:
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise RuntimeError("there are no migrations in this package")
    return newest


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    return config
