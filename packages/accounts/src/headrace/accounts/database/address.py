"""From the settings to where the database is, as a value that SQLAlchemy's drivers take."""

import ssl
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from headrace.schema.settings import AccountsSettings, StorageSettings

DatabaseKind = Literal["sqlite", "postgresql"]

DEFAULT_FILE = "accounts.sqlite3"
APPLICATION = "headrace"


class DatabaseAddress(Struct, frozen=True, kw_only=True):
    """Where the database is, and how it is spoken to.

    Attributes:
        kind: which database it is.
        url: for SQLAlchemy, with the driver and the credentials.
        options: what the driver is told at each connect.
        pool_size: most connections.
        timeout_seconds: for a connection, a statement, another writer.
        file: of SQLite.
    """

    kind: DatabaseKind
    url: URL
    options: dict[str, Any]
    pool_size: int
    timeout_seconds: float
    file: Path | None = None

    @property
    def shown(self) -> str:
        """The address for people: without credentials."""
        if self.file is not None:
            return f"sqlite:///{self.file}"
        return f"postgresql://{self.url.host}:{self.url.port or 5432}/{self.url.database}"


def read_address(settings: AccountsSettings, storage: StorageSettings) -> DatabaseAddress:
    """Return the address that the settings give.

    Raises:
        ValueError: they can't be used; the message names the setting.
    """
    if not settings.database_url:
        return _sqlite(settings, Path(storage.folder) / DEFAULT_FILE)
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):
        # Its own words may quote a password.
        raise ValueError("accounts.database_url: it is not a URL") from None
    match url.drivername:
        case "sqlite":
            if not url.database or url.database == ":memory:" or url.host or url.query:
                raise ValueError(
                    "accounts.database_url: SQLite needs a file: sqlite:///FILE, or sqlite:////FOLDER/FILE"
                )
            return _sqlite(settings, Path(url.database))
        case "postgresql" | "postgres":
            return _postgresql(settings, url)
        case _:
            raise ValueError("accounts.database_url: it must begin with sqlite:/// or postgresql://")


def _sqlite(settings: AccountsSettings, file: Path) -> DatabaseAddress:
    return DatabaseAddress(
        kind="sqlite",
        url=URL.create("sqlite+aiosqlite", database=str(file)),
        # We say ourselves when a transaction begins: the driver's own way can't make tables in one.
        options={"isolation_level": None, "timeout": settings.database_timeout_seconds},
        pool_size=settings.database_pool_size,
        timeout_seconds=settings.database_timeout_seconds,
        file=file,
    )


def _postgresql(settings: AccountsSettings, url: URL) -> DatabaseAddress:
    if not url.host or not url.database:
        raise ValueError("accounts.database_url: PostgreSQL needs postgresql://HOST:PORT/DATABASE")
    if url.query:
        raise ValueError("accounts.database_url: options after ? are not read; see the settings accounts.database_…")
    password = settings.database_password.reveal() if settings.database_password else url.password
    seconds = settings.database_timeout_seconds
    return DatabaseAddress(
        kind="postgresql",
        url=URL.create(
            "postgresql+asyncpg",
            username=settings.database_username or url.username,
            password=password,
            host=url.host,
            port=url.port,
            database=url.database,
        ),
        options={
            "timeout": seconds,
            "command_timeout": seconds,
            "ssl": _tls(settings),
            "server_settings": {"application_name": APPLICATION},
        },
        pool_size=settings.database_pool_size,
        timeout_seconds=seconds,
    )


def _tls(settings: AccountsSettings) -> ssl.SSLContext | str | bool:
    mode = settings.database_tls
    if mode == "disable":
        return False
    if mode == "prefer":
        return "prefer"
    try:
        context = ssl.create_default_context(cafile=settings.database_tls_ca or None)
        if settings.database_tls_certificate:
            context.load_cert_chain(settings.database_tls_certificate)
    except OSError as error:
        raise ValueError(f"accounts.database_tls_…: a file can't be read: {error.strerror or error}") from None
    context.check_hostname = mode == "verify-full"
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context
