"""The two ways in: the admin API of a gateway, or the database itself."""

import asyncio
import getpass
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import httpx

from headrace.accounts.admin import AccountsAdmin
from headrace.apps.cli.accounts.client import ACTOR_HEADER, AdminClient
from headrace.apps.cli.accounts.options import Door
from headrace.process.config import read_settings
from headrace.process.logs import set_up_log
from headrace.schema.settings import Settings

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 30.0

# What to do with the accounts, and the served names by the settings where no gateway is asked for them.
Work = Callable[[AccountsAdmin, Collection[str] | None], Awaitable[None]]


def go_in(door: Door, environ: Mapping[str, str], work: Work) -> None:
    """Do something with the accounts.

    Args:
        door: which way in.
        environ: the environment.
        work: what to do.

    Raises:
        SettingsError: the settings can't be used.
        HeadraceError: it can't be done.
        ValueError: a flag does not fit the others.
    """
    if door.database and door.url is not None:
        raise ValueError("--url and --database are two ways to the same: give one of them")
    settings = read_settings(config=door.config, environ=environ)
    if door.database:
        set_up_log(settings.log)
        _go_inside(settings, work)
    else:
        key = settings.accounts.admin_key
        asyncio.run(_work_outside(door.url or DEFAULT_URL, key.reveal() if key else None, work))


def _go_inside(settings: Settings, work: Work) -> None:
    # Imported here: the other way needs no database.
    from headrace.accounts.database import Database
    from headrace.accounts.store import StoreAdmin
    from headrace.apps.cli.served import list_names
    from headrace.apps.gateway.accounts_database import open_database

    address, pepper = open_database(settings)

    async def run() -> None:
        database = Database(address)
        try:
            await work(StoreAdmin(database, pepper, actor=f"cli:{find_user()}"), list_names(settings))
        finally:
            await database.close()

    asyncio.run(run())


async def _work_outside(url: str, key: str | None, work: Work) -> None:
    async with _open_client(url, key) as client:
        await work(AdminClient(client), None)


@asynccontextmanager
async def _open_client(url: str, key: str | None) -> AsyncGenerator[httpx.AsyncClient]:
    headers = {ACTOR_HEADER: find_user()}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    async with httpx.AsyncClient(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT_SECONDS) as client:
        yield client


def find_user() -> str:
    """Return who sits at the terminal, for the audit log."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
    return "".join(character for character in name if "!" <= character <= "~")[:64] or "unknown"
