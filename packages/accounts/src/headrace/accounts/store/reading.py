"""Finds tenants, keys and entries of the audit log."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from headrace.accounts.database.tables import api_keys, audit_entries, key_secrets, tenants
from headrace.accounts.store.finding import find_key, find_tenant, select_keys
from headrace.accounts.store.naming import read_tenant_names
from headrace.accounts.store.rows import AnyRow, to_audit_entry, to_key, to_key_secret, to_tenant
from headrace.accounts.values import MAX_PAGE_SIZE, ApiKey, AuditEntry, KeySecret, Page, Tenant


async def read_tenant(connection: AsyncConnection, reference: str) -> Tenant:
    """Return the tenant of an id or a name.

    Raises:
        HeadraceError: `not_found`.
    """
    return to_tenant(await find_tenant(connection, reference))


async def read_tenants(connection: AsyncConnection, *, after: str | None, limit: int) -> Page[Tenant]:
    """Return a page of tenants."""
    statement = select(tenants).order_by(tenants.c.id).limit(_bounded(limit) + 1)
    if after is not None:
        statement = statement.where(tenants.c.id > after)
    found = [to_tenant(row) for row in await connection.execute(statement)]
    shown = tuple(found[: _bounded(limit)])
    return Page(data=shown, next=shown[-1].id if len(found) > len(shown) else None)


async def read_key(connection: AsyncConnection, reference: str) -> ApiKey:
    """Return the key of an id, a prefix or a name.

    Raises:
        HeadraceError: `not_found`, or `conflict`: several have this name.
    """
    return (await _with_secrets(connection, [await find_key(connection, reference)]))[0]


async def read_keys(
    connection: AsyncConnection, *, tenant_id: str | None, after: str | None, limit: int
) -> Page[ApiKey]:
    """Return a page of keys."""
    statement = select_keys(tenant_id).limit(_bounded(limit) + 1)
    if after is not None:
        statement = statement.where(api_keys.c.id > after)
    rows = (await connection.execute(statement)).all()
    shown = await _with_secrets(connection, rows[: _bounded(limit)])
    return Page(data=tuple(shown), next=shown[-1].id if len(rows) > len(shown) else None)


async def read_audit(
    connection: AsyncConnection, *, tenant_id: str | None, before: int | None, limit: int
) -> Page[AuditEntry]:
    """Return a page of the audit log, the newest first."""
    statement = select(audit_entries).order_by(audit_entries.c.number.desc()).limit(_bounded(limit) + 1)
    if tenant_id is not None:
        statement = statement.where(audit_entries.c.tenant_id == tenant_id)
    if before is not None:
        statement = statement.where(audit_entries.c.number < before)
    rows = (await connection.execute(statement)).all()
    names = await read_tenant_names(connection, {row.tenant_id for row in rows})
    found = [to_audit_entry(row, tenant_name=names.get(row.tenant_id)) for row in rows]
    shown = tuple(found[: _bounded(limit)])
    return Page(data=shown, next=str(shown[-1].number) if len(found) > len(shown) else None)


async def _with_secrets(connection: AsyncConnection, rows: Sequence[AnyRow]) -> list[ApiKey]:
    statement = (
        select(key_secrets)
        .where(key_secrets.c.key_id.in_([row.id for row in rows]))
        .order_by(key_secrets.c.expires_at.is_not(None), key_secrets.c.created_at.desc())
    )
    secrets: dict[str, list[KeySecret]] = {}
    for row in await connection.execute(statement):
        secrets.setdefault(row.key_id, []).append(to_key_secret(row))
    return [to_key(row, tuple(secrets.get(row.id, ()))) for row in rows]


def _bounded(limit: int) -> int:
    return min(max(limit, 1), MAX_PAGE_SIZE)
