"""Each test of the accounts runs on SQLite and on PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.accounts.database import Database, DatabaseAddress, migrate_database, read_address
from headrace.accounts.secrets import Pepper
from headrace.accounts.store import StoreAdmin
from headrace.apps.cli.nodes import PostgresqlNode
from headrace.schema.settings import AccountsSettings, StorageSettings
from tests.support.databases import PEPPER, postgresql_settings, sqlite_settings

KINDS = ["sqlite", pytest.param("postgresql", marks=pytest.mark.services)]


@pytest.fixture(params=KINDS)
async def accounts_settings(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[AccountsSettings]:
    """Settings with an empty database of each kind."""
    if request.param == "sqlite":
        yield sqlite_settings(tmp_path)
        return
    node: PostgresqlNode = request.getfixturevalue("postgresql_node")
    async with postgresql_settings(node) as settings:
        yield settings


@pytest.fixture
def address(accounts_settings: AccountsSettings) -> DatabaseAddress:
    """Where the empty database is."""
    return read_address(accounts_settings, StorageSettings())


@pytest.fixture
async def database(address: DatabaseAddress) -> AsyncIterator[Database]:
    """A database at the newest version."""
    await asyncio.to_thread(migrate_database, address)
    opened = Database(address)
    yield opened
    await opened.close()


@pytest.fixture
def pepper() -> Pepper:
    """What the hashes of the tests are keyed with."""
    return Pepper(PEPPER)


@pytest.fixture
def admin(database: Database, pepper: Pepper) -> StoreAdmin:
    """An actor of the tests."""
    return StoreAdmin(database, pepper, actor="tests")
