"""A directory on a real PostgreSQL that is stopped and started, and gateways that tell each other over a real Redis."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headrace.accounts.database import Database, migrate_database, read_address
from headrace.accounts.directory import CachedDirectory, RedisAnnouncements
from headrace.accounts.directory.lookup import DatabaseLookup
from headrace.accounts.secrets import Pepper
from headrace.accounts.store import StoreAdmin
from headrace.accounts.values import KeyDraft, TenantDraft
from headrace.apps.cli.nodes import MissingServiceError, PostgresqlNode, RedisNode, RunningNode, running_postgresql
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import AccountsSettings, RedisSettings, Secret, StorageSettings
from tests.support.databases import PEPPER, sqlite_settings
from tests.support.services import give_up

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]

PATIENCE_SECONDS = 20.0


async def is_found(directory: CachedDirectory, key: str) -> bool:
    """Tell whether a key is known, whatever the database says meanwhile."""
    try:
        return await directory.find(key) is not None
    except HeadraceError:
        return False


async def until_found(directory: CachedDirectory, key: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not await is_found(directory, key):  # noqa: ASYNC110 - it hears of it from the database
            await asyncio.sleep(0.02)


async def until_trusted(directory: CachedDirectory) -> None:
    """Wait until it has heard of all that was changed before it began to watch."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with contextlib.suppress(HeadraceError):
                return await directory.check()
            await asyncio.sleep(0.02)


@pytest.fixture
def server() -> Iterator[tuple[PostgresqlNode, RunningNode]]:
    """A PostgreSQL that a test may stop and start."""
    try:
        with running_postgresql() as running:
            yield running
    except MissingServiceError as error:
        give_up(error)


async def test_known_keys_outlive_a_restart_of_the_server(server: tuple[PostgresqlNode, RunningNode]) -> None:
    node, process = server
    settings = AccountsSettings(
        database_url=node.url,
        database_username=node.username,
        database_password=Secret(node.password),
        database_timeout_seconds=2.0,
    )
    address = read_address(settings, StorageSettings())
    await asyncio.to_thread(migrate_database, address)
    database, pepper = Database(address), Pepper(PEPPER)
    admin = StoreAdmin(database, pepper, actor="tests")
    directory = CachedDirectory(DatabaseLookup(database), pepper, cached_keys=10, poll_seconds=0.1, stale_seconds=600.0)
    await admin.create_tenant(TenantDraft(name="acme"))
    known = (await admin.create_key(KeyDraft(tenant="acme", name="known"))).secret
    other = (await admin.create_key(KeyDraft(tenant="acme", name="other"))).secret
    directory.start()
    await until_trusted(directory)
    await until_found(directory, known)

    process.stop()
    assert await directory.find(known) is not None
    with pytest.raises(HeadraceError) as refused:
        await directory.find(other)
    assert refused.value.code == ErrorCode.ACCOUNTS_UNAVAILABLE
    with pytest.raises(HeadraceError) as refused:
        await admin.list_tenants()
    assert refused.value.code == ErrorCode.ACCOUNTS_UNAVAILABLE

    # In this thread: a node ends with the one that started it.
    process.start()
    await until_found(directory, other)
    await admin.revoke_key(known)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await directory.find(known) is not None:  # noqa: ASYNC110 - it hears of it from the database
            await asyncio.sleep(0.02)
    await directory.close()
    await database.close()


async def test_a_change_is_told_over_redis(tmp_path: Path, redis_node: RedisNode) -> None:
    address = read_address(sqlite_settings(tmp_path), StorageSettings())
    await asyncio.to_thread(migrate_database, address)
    database = Database(address)
    here, there = (RedisAnnouncements(RedisSettings(url=redis_node.url)) for _ in range(2))
    heard = asyncio.Event()
    hear: Callable[[], None] = heard.set
    there.start(hear)
    admin = StoreAdmin(database, Pepper(PEPPER), actor="tests", announce=here.announce)
    async with asyncio.timeout(PATIENCE_SECONDS):
        # The listener may not be there yet for the first.
        number = 0
        while not heard.is_set():
            await admin.create_tenant(TenantDraft(name=f"t{number}"))
            number += 1
            await asyncio.sleep(0.05)
    await here.close()
    await there.close()
    await database.close()


async def test_a_redis_that_is_away_takes_no_change_with_it(tmp_path: Path) -> None:
    address = read_address(sqlite_settings(tmp_path), StorageSettings())
    await asyncio.to_thread(migrate_database, address)
    database = Database(address)
    nowhere = RedisAnnouncements(RedisSettings(url="redis://127.0.0.1:1/0"))
    admin = StoreAdmin(database, Pepper(PEPPER), actor="tests", announce=nowhere.announce)
    assert (await admin.create_tenant(TenantDraft(name="acme"))).name == "acme"
    await nowhere.close()
    await database.close()
