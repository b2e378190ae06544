"""What the directory reads of the database."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace.accounts.database import Database
from headrace.accounts.database.tables import api_keys, change_counter, changes, key_secrets, tenants
from headrace.accounts.limits import CallerLimits
from headrace.accounts.store.changing import KEPT_CHANGES
from headrace.accounts.store.rows import AnyRow, read_limits, read_rights
from headrace.accounts.values import Rights
from headrace.schema.caller import Caller


class KnownKey(Struct, frozen=True, kw_only=True):
    """A secret of a key, with all that is to be known about it.

    Attributes:
        prefix: of the secret.
        hash: of the whole key.
        caller: whose it is.
        limits: what it may use.
        works: whether it is neither revoked nor its tenant disabled.
        expires_at: when it stops to work by itself, Unix seconds; None for never.
    """

    prefix: str
    hash: bytes
    caller: Caller
    limits: CallerLimits
    works: bool
    expires_at: float | None


class Loaded(Struct, frozen=True, kw_only=True):
    """What is in the database of a prefix or a key, and which changes it has in it at least."""

    number: int
    key: KnownKey | None


class Changed(Struct, frozen=True, kw_only=True):
    """What has changed since a number.

    Attributes:
        number: of the newest change.
        tenant_ids: tenants that have changed, with all their keys.
        key_ids: keys that have changed.
        too_many: the rest is not known any more: anything may have changed.
    """

    number: int
    tenant_ids: frozenset[str] = frozenset()
    key_ids: frozenset[str] = frozenset()
    too_many: bool = False


class DatabaseLookup:
    """Reads keys and changes.

    Args:
        database: at the newest version.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self, prefix: str) -> Loaded:
        """Return the key of a prefix.

        Raises:
            HeadraceError: `accounts_unavailable`.
        """
        return await self._load(_statement().where(key_secrets.c.prefix == prefix))

    async def load_id(self, key_id: str) -> Loaded:
        """Return the key of an id, by the newest of its secrets.

        Raises:
            HeadraceError: `accounts_unavailable`.
        """
        newest_first = key_secrets.c.created_at.desc()
        return await self._load(_statement().where(api_keys.c.id == key_id).order_by(newest_first).limit(1))

    async def read_changes(self, seen: int | None) -> Changed:
        """Return what has changed since a number; None is before anything was seen.

        Raises:
            HeadraceError: `accounts_unavailable`.
        """
        async with self._database.reading() as connection:
            number = await _read_number(connection)
            if seen is None or number == seen:
                return Changed(number=number)
            if number < seen or number - seen >= KEPT_CHANGES:
                # Fewer than before: the database was put back to an earlier state.
                return Changed(number=number, too_many=True)
            rows = (await connection.execute(select(changes).where(changes.c.number > seen))).all()
        return Changed(
            number=number,
            tenant_ids=frozenset(row.tenant_id for row in rows if row.key_id is None),
            key_ids=frozenset(row.key_id for row in rows if row.key_id is not None),
        )

    async def _load(self, statement: Select[*tuple[Any, ...]]) -> Loaded:
        async with self._database.reading() as connection:
            # The number first: what is read after it is at least as new.
            number = await _read_number(connection)
            row = (await connection.execute(statement)).one_or_none()
        return Loaded(number=number, key=None if row is None else to_known_key(row))


async def _read_number(connection: AsyncConnection) -> int:
    return (await connection.execute(select(change_counter.c.value))).scalar_one()


def _statement() -> Select[*tuple[Any, ...]]:
    return (
        select(
            key_secrets.c.prefix,
            key_secrets.c.hash,
            key_secrets.c.expires_at.label("secret_expires_at"),
            api_keys.c.id,
            api_keys.c.tenant_id,
            api_keys.c.expires_at,
            api_keys.c.revoked_at,
            api_keys.c.rights,
            api_keys.c.limits,
            tenants.c.disabled_at,
            tenants.c.rights.label("tenant_rights"),
            tenants.c.limits.label("tenant_limits"),
        )
        .join(api_keys, key_secrets.c.key_id == api_keys.c.id)
        .join(tenants, api_keys.c.tenant_id == tenants.c.id)
    )


def to_known_key(row: AnyRow) -> KnownKey:
    """Return a key of its joined row."""
    ends = [end for end in (row.expires_at, row.secret_expires_at) if end is not None]
    return KnownKey(
        prefix=row.prefix,
        hash=bytes(row.hash),
        caller=to_caller(row.tenant_id, row.id, read_rights(row.tenant_rights), read_rights(row.rights)),
        limits=CallerLimits(key=read_limits(row.limits), tenant=read_limits(row.tenant_limits)),
        works=row.revoked_at is None and row.disabled_at is None,
        expires_at=min(ends) / 1000 if ends else None,
    )


def to_caller(tenant_id: str, key_id: str, tenant: Rights, key: Rights) -> Caller:
    """Return what both the tenant and its key allow."""
    named = [frozenset(rights.models) for rights in (tenant, key) if rights.models is not None]
    return Caller(
        tenant_id=tenant_id,
        key_id=key_id,
        models=_intersect(named),
        max_priority=min(tenant.max_priority, key.max_priority),
        local_only=tenant.local_only or key.local_only,
        retains=tenant.retains or key.retains,
    )


def _intersect(sets: Sequence[frozenset[str]]) -> frozenset[str] | None:
    """Return what is in all sets; None where there are none."""
    return sets[0].intersection(*sets[1:]) if sets else None
