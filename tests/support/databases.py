"""Databases for tests of the accounts: an empty one for each test, of either kind."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg

from headrace.apps.cli.nodes import PostgresqlNode
from headrace.schema.settings import AccountsSettings, Secret

PEPPER = "a pepper of thirty-two characters or more"
ADMIN_KEY = "an admin key for tests"


def sqlite_settings(folder: Path) -> AccountsSettings:
    """Return settings with a file in a folder."""
    return AccountsSettings(
        enabled=True,
        database_url=f"sqlite:///{folder / 'accounts.sqlite3'}",
        pepper=Secret(PEPPER),
        admin_key=Secret(ADMIN_KEY),
    )


@asynccontextmanager
async def postgresql_settings(node: PostgresqlNode) -> AsyncGenerator[AccountsSettings]:
    """Make a database of its own at a node, and remove it at the end."""
    name = f"test_{uuid4().hex}"
    await _run(node, f"CREATE DATABASE {name}")
    yield AccountsSettings(
        enabled=True,
        database_url=f"{node.url.rpartition('/')[0]}/{name}",
        database_username=node.username,
        database_password=Secret(node.password),
        pepper=Secret(PEPPER),
        admin_key=Secret(ADMIN_KEY),
    )
    await _run(node, f"DROP DATABASE {name} WITH (FORCE)")


async def _run(node: PostgresqlNode, statement: str) -> None:
    connect: Any = asyncpg.connect  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    connection: Any = await connect(
        host="127.0.0.1", port=node.port, user=node.username, password=node.password, database=node.database
    )
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
