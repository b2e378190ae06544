"""Makes, changes and removes tenants, inside a change."""

import secrets

import sqlalchemy as sa
from msgspec import structs

from headrace.accounts.database.tables import api_keys, tenants
from headrace.accounts.patching import apply_patch
from headrace.accounts.store.changing import Change
from headrace.accounts.store.reading import read_tenant
from headrace.accounts.store.rows import to_json, to_milliseconds
from headrace.accounts.values import TENANT_PREFIX, Tenant, TenantDraft, TenantPatch
from headrace.schema.errors import ErrorCode, HeadraceError


def make_id(prefix: str, milliseconds: int) -> str:
    """Return an id that sorts by the time at which it was made."""
    return f"{prefix}{milliseconds:012x}{secrets.token_hex(6)}"


async def create(change: Change, draft: TenantDraft) -> Tenant:
    """Make a tenant."""
    tenant = Tenant(
        id=make_id(TENANT_PREFIX, change.at_milliseconds),
        name=draft.name,
        created_at=change.at,
        rights=draft.rights,
        limits=draft.limits,
    )
    row = {"id": tenant.id, "created_at": change.at_milliseconds, **_columns(tenant)}
    await change.connection.execute(sa.insert(tenants), [row])
    await change.note("tenant.create", tenant_id=tenant.id, key_id=None, after=tenant)
    return tenant


async def patch(change: Change, reference: str, patch: TenantPatch) -> Tenant:
    """Change a tenant.

    Raises:
        HeadraceError: `not_found`.
    """
    before = await read_tenant(change.connection, reference)
    after = apply_patch(before, patch)
    if isinstance(patch.disabled, bool) and patch.disabled != (before.disabled_at is not None):
        after = structs.replace(after, disabled_at=change.at if patch.disabled else None)
    if after != before:
        await change.connection.execute(sa.update(tenants).where(tenants.c.id == before.id).values(_columns(after)))
        await change.note("tenant.update", tenant_id=before.id, key_id=None, before=before, after=after)
    return after


async def delete(change: Change, reference: str) -> None:
    """Remove a tenant and its keys.

    Raises:
        HeadraceError: `not_found`, or `conflict`: its keys still work.
    """
    tenant = await read_tenant(change.connection, reference)
    if tenant.disabled_at is None:
        raise HeadraceError(ErrorCode.CONFLICT, "the tenant is in use: disable it first")
    await change.connection.execute(sa.delete(api_keys).where(api_keys.c.tenant_id == tenant.id))
    await change.connection.execute(sa.delete(tenants).where(tenants.c.id == tenant.id))
    await change.note("tenant.delete", tenant_id=tenant.id, key_id=None, before=tenant)


def _columns(tenant: Tenant) -> dict[str, object]:
    return {
        "name": tenant.name,
        "disabled_at": to_milliseconds(tenant.disabled_at),
        "rights": to_json(tenant.rights),
        "limits": to_json(tenant.limits),
    }
