"""The names of ids, for people: of what was deleted there are none any more."""

from collections.abc import Collection

from msgspec import Struct
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace.accounts.database.tables import api_keys, key_secrets, tenants


class KeyName(Struct, frozen=True, kw_only=True):
    """How people know a key.

    Attributes:
        name: what it was called.
        prefix: how its newest secret begins, after `hr_`.
    """

    name: str
    prefix: str


async def read_tenant_names(connection: AsyncConnection, ids: Collection[str]) -> dict[str, str]:
    """Return the names of tenants, by id."""
    if not ids:
        return {}
    statement = select(tenants.c.id, tenants.c.name).where(tenants.c.id.in_(ids))
    return {row.id: row.name for row in await connection.execute(statement)}


async def read_key_names(connection: AsyncConnection, ids: Collection[str]) -> dict[str, KeyName]:
    """Return the names of keys, by id."""
    if not ids:
        return {}
    statement = (
        select(api_keys.c.id, api_keys.c.name, key_secrets.c.prefix)
        .join(key_secrets, key_secrets.c.key_id == api_keys.c.id)
        .where(api_keys.c.id.in_(ids))
        # The newest last, which stays.
        .order_by(key_secrets.c.expires_at.is_(None), key_secrets.c.created_at)
    )
    return {row.id: KeyName(name=row.name, prefix=row.prefix) for row in await connection.execute(statement)}
