"""What both databases promise, and that the migrations make exactly the tables that the code has."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from msgspec import structs
from sqlalchemy import Connection, Table, insert, select, update
from sqlalchemy.exc import IntegrityError

from headrace.accounts.database import Database, DatabaseAddress, metadata, migrate_database, read_status
from headrace.accounts.database.tables import api_keys, change_counter, tenants
from headrace.apps.cli.nodes import free_ports
from headrace.schema.errors import ErrorCode, HeadraceError


def _differences(connection: Connection) -> Any:
    options = {"compare_type": True, "compare_server_default": True}
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)


async def test_the_migrations_give_the_metadata(database: Database) -> None:
    async with database.reading() as connection:
        assert await connection.run_sync(_differences) == []


def test_an_empty_database_says_so_and_is_migrated_once(address: DatabaseAddress) -> None:
    before = read_status(address)
    assert (before.current, before.is_current) == (None, False)
    assert migrate_database(address) == before
    assert read_status(address).is_current
    assert migrate_database(address).is_current


async def test_replicas_that_start_together_migrate_once(address: DatabaseAddress) -> None:
    found = await asyncio.gather(*(asyncio.to_thread(migrate_database, address) for _ in range(6)))
    assert sum(not status.is_current for status in found) == 1


TENANT = {"id": "ten_1", "name": "one", "created_at": 0, "rights": "{}", "limits": "{}"}
KEY = {"id": "key_1", "tenant_id": "ten_1", "name": "k", "created_at": 0, "rights": "{}", "limits": "{}"}


async def insert_all(database: Database, table: Table, *rows: Mapping[str, object]) -> None:
    async with database.writing() as connection:
        for row in rows:
            await connection.execute(insert(table), [dict(row)])


async def test_a_transaction_is_whole_or_not_at_all(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await insert_all(database, tenants, TENANT, TENANT | {"id": "ten_2"})
    async with database.reading() as connection:
        assert (await connection.execute(select(tenants))).all() == []


async def test_a_key_needs_its_tenant(database: Database) -> None:
    with pytest.raises(IntegrityError):
        await insert_all(database, api_keys, KEY)
    await insert_all(database, tenants, TENANT)
    await insert_all(database, api_keys, KEY)


async def test_writers_take_turns_and_readers_do_not_wait(database: Database) -> None:
    add_one = update(change_counter).values(value=change_counter.c.value + 1)

    async def count() -> int:
        async with database.reading() as connection:
            return (await connection.execute(select(change_counter.c.value))).scalar_one()

    async def add() -> None:
        async with database.writing() as connection:
            await connection.execute(add_one)

    async with database.writing() as connection:
        await connection.execute(add_one)
        assert await count() == 0
    await asyncio.gather(*(add() for _ in range(20)))
    assert await count() == 21


async def test_a_database_that_is_away_is_a_failure_of_ours(address: DatabaseAddress) -> None:
    # What is not there is not made by being read: a file is made by the migrations alone.
    url = address.url.set(port=free_ports(1)[0]) if address.kind == "postgresql" else address.url
    database = Database(structs.replace(address, url=url))
    for _ in range(2):
        with pytest.raises(HeadraceError) as caught:
            await database.check()
        assert caught.value.code == ErrorCode.ACCOUNTS_UNAVAILABLE
    await database.close()
    assert address.file is None or not address.file.exists()
