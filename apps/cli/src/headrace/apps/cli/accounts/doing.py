"""What each command does with the accounts, once what was typed has been read."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from msgspec import UNSET, Struct

from headrace.accounts.admin import AccountsAdmin
from headrace.accounts.limits import NO_LIMITS
from headrace.accounts.patching import apply_patch
from headrace.accounts.values import (
    ALL_RIGHTS,
    MAX_PAGE_SIZE,
    ApiKey,
    AuditEntry,
    IssuedKey,
    KeyDraft,
    KeyPatch,
    LimitsPatch,
    RightsPatch,
    Rotation,
    Tenant,
    TenantDraft,
    TenantPatch,
)
from headrace.apps.cli.accounts import showing
from headrace.apps.cli.accounts.options import GivenLimits, GivenRights
from headrace.apps.cli.accounts.run import read_all
from headrace.apps.cli.accounts.typed import (
    read_instant,
    read_option,
    read_overlap,
    to_limits_patch,
    to_rights_patch,
)
from headrace.schema.settings.allowed import explain

R = TypeVar("R")
S = TypeVar("S", bound=Struct)
Doing = Callable[[AccountsAdmin], Awaitable[R]]


def create_tenant(name: str, rights: GivenRights, limits: GivenLimits) -> Doing[Tenant]:
    """Return what makes a tenant."""

    async def do(admin: AccountsAdmin) -> Tenant:
        draft = TenantDraft(
            name=name,
            rights=apply_patch(ALL_RIGHTS, to_rights_patch(rights) or RightsPatch()),
            limits=apply_patch(NO_LIMITS, to_limits_patch(limits) or LimitsPatch()),
        )
        return await admin.create_tenant(checked(draft))

    return do


async def list_tenants(admin: AccountsAdmin) -> Sequence[Tenant]:
    """Return all tenants."""
    return await read_all(lambda after: admin.list_tenants(after=after, limit=MAX_PAGE_SIZE))


def show_tenant(tenant: str) -> Doing[Tenant]:
    """Return what shows a tenant, and what is left of its limits."""
    return lambda admin: showing.find_tenant(admin, tenant)


def update_tenant(tenant: str, name: str | None, rights: GivenRights, limits: GivenLimits) -> Doing[Tenant]:
    """Return what changes a tenant."""

    async def do(admin: AccountsAdmin) -> Tenant:
        patch = TenantPatch(
            name=UNSET if name is None else name, rights=to_rights_patch(rights), limits=to_limits_patch(limits)
        )
        return await admin.change_tenant(tenant, checked(patch))

    return do


def set_disabled(tenant: str, disabled: bool) -> Doing[Tenant]:
    """Return what disables or enables a tenant."""
    return lambda admin: admin.change_tenant(tenant, TenantPatch(disabled=disabled))


def delete_tenant(tenant: str) -> Doing[str]:
    """Return what removes a tenant."""

    async def do(admin: AccountsAdmin) -> str:
        await admin.delete_tenant(tenant)
        return "Deleted."

    return do


def create_key(
    tenant: str, name: str, expires: str | None, rights: GivenRights, limits: GivenLimits
) -> Doing[IssuedKey]:
    """Return what makes a key."""

    async def do(admin: AccountsAdmin) -> IssuedKey:
        draft = KeyDraft(
            tenant=tenant,
            name=name,
            expires_at=None if expires is None else _read_expiry(expires),
            rights=apply_patch(ALL_RIGHTS, to_rights_patch(rights) or RightsPatch()),
            limits=apply_patch(NO_LIMITS, to_limits_patch(limits) or LimitsPatch()),
        )
        return await admin.create_key(checked(draft))

    return do


def list_keys(tenant: str | None) -> Doing[Sequence[ApiKey]]:
    """Return what lists keys."""

    async def do(admin: AccountsAdmin) -> Sequence[ApiKey]:
        return await read_all(lambda after: admin.list_keys(tenant=tenant, after=after, limit=MAX_PAGE_SIZE))

    return do


def show_key(key: str) -> Doing[ApiKey]:
    """Return what shows a key, and what is left of its limits."""
    return lambda admin: showing.find_key(admin, key)


def update_key(
    key: str, name: str | None, expires: str | None, rights: GivenRights, limits: GivenLimits
) -> Doing[ApiKey]:
    """Return what changes a key."""

    async def do(admin: AccountsAdmin) -> ApiKey:
        patch = KeyPatch(
            name=UNSET if name is None else name,
            expires_at=UNSET if expires is None else _read_expiry(expires),
            rights=to_rights_patch(rights),
            limits=to_limits_patch(limits),
        )
        return await admin.change_key(key, checked(patch))

    return do


def rotate_key(key: str, overlap: str) -> Doing[IssuedKey]:
    """Return what gives a key a new secret."""

    async def do(admin: AccountsAdmin) -> IssuedKey:
        seconds = read_option("--overlap", read_overlap, overlap)
        return await admin.rotate_key(key, Rotation(overlap_seconds=seconds))

    return do


def delete_key(key: str) -> Doing[str]:
    """Return what removes a key."""

    async def do(admin: AccountsAdmin) -> str:
        await admin.delete_key(key)
        return "Deleted."

    return do


def list_audit(tenant: str | None, count: int) -> Doing[Sequence[AuditEntry]]:
    """Return what shows the newest changes."""

    async def do(admin: AccountsAdmin) -> Sequence[AuditEntry]:
        return (await admin.list_audit(tenant=tenant, limit=count)).data

    return do


def _read_expiry(text: str) -> datetime | None:
    return read_option("--expires", lambda given: read_instant(given, now=datetime.now(UTC)), text)


def checked(value: S) -> S:
    """Return a value that keeps its own limits: what the admin API checks, the database must be given checked.

    Raises:
        ValueError: naming the option.
    """
    if (wrong := explain("", msgspec.to_builtins(value), type(value))) is None:
        return value
    place, _, problem = wrong.partition(": ")
    if place == ".name":
        problem += "; a name has no spaces, none of / ? # %, and does not begin with ten_, key_ or hr_"
    option = place.rpartition(".")[2].partition("[")[0].replace("_", "-")
    raise ValueError(f"--{option}: {problem}")
