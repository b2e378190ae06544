"""One pool of connections, and the edge where what goes wrong in a database becomes a failure of ours."""

import sqlite3
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
import structlog
from sqlalchemy import Connection, event, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from headrace.accounts.database.address import DatabaseAddress, DatabaseKind
from headrace.schema.errors import ErrorCode, HeadraceError

_WRITES = "headrace_writes"
_log = structlog.get_logger("headrace.accounts")


class Database:
    """Gives out connections. It is opened by its first use, and may be made outside an event loop.

    Args:
        address: where it is.

    Attributes:
        address: where it is.
    """

    def __init__(self, address: DatabaseAddress) -> None:
        self.address = address
        self._engine = make_engine(address)
        self._writing = self._engine.execution_options(**{_WRITES: True})
        self._is_away = False

    @property
    def kind(self) -> DatabaseKind:
        """Which database it is, for the few statements that are written differently."""
        return self.address.kind

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection in a transaction for reading; nothing of it is kept.

        Raises:
            HeadraceError: `accounts_unavailable`.
        """
        with self._converted():
            async with self._engine.connect() as connection:
                await connection.begin()
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncGenerator[AsyncConnection]:
        """Lend a connection in a transaction, which is committed at the end and rolled back by an exception.

        SQLite has one writer at a time: the transaction waits for its turn when it begins, so what it reads first it
        may then write.

        Raises:
            HeadraceError: `accounts_unavailable`.
            IntegrityError: SQLAlchemy's: a constraint does not hold.
        """
        with self._converted():
            async with self._writing.begin() as connection:
                yield connection

    async def check(self) -> None:
        """Raise HeadraceError, with the reason, unless the database answers."""
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()

    @contextmanager
    def _converted(self) -> Generator[None]:
        try:
            yield
        except (IntegrityError, ProgrammingError, DataError, HeadraceError):
            self._note_answer()
            raise
        except (DBAPIError, PoolTimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            self._note_absence(error)
            raise HeadraceError(
                ErrorCode.ACCOUNTS_UNAVAILABLE, "the database of the accounts does not answer; try again soon"
            ) from None
        else:
            self._note_answer()

    def _note_absence(self, error: Exception) -> None:
        # Said once: a database that stays away would fill the log.
        if not self._is_away:
            self._is_away = True
            original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
            _log.error("accounts database lost", database=self.address.shown, error=type(original).__name__)

    def _note_answer(self) -> None:
        if self._is_away:
            self._is_away = False
            _log.info("accounts database back", database=self.address.shown)


def make_engine(address: DatabaseAddress, *, pooled: bool = True) -> AsyncEngine:
    """Return an engine; one that is not pooled keeps no connection, and may be used in a loop that ends."""
    pool: dict[str, Any] = {"poolclass": NullPool}
    if pooled:
        pool = {"pool_size": address.pool_size, "max_overflow": 0, "pool_timeout": address.timeout_seconds}
        # A connection may have died with a restart of the server; a file does not restart.
        pool["pool_pre_ping"] = address.kind == "postgresql"
    engine = create_async_engine(address.url, connect_args=address.options, hide_parameters=True, **pool)
    if address.kind == "sqlite":
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    cursor: sqlite3.Cursor = connection.cursor()
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get(_WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
