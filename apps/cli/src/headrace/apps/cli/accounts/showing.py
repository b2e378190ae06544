"""A tenant or a key with what is left of its limits, for the commands that show one."""

from collections.abc import Awaitable

from msgspec import structs

from headrace.accounts.admin import AccountsAdmin
from headrace.accounts.quota.remaining import LimitState
from headrace.accounts.values import ApiKey, Tenant
from headrace.apps.cli.accounts.client import AdminClient
from headrace.gateway.admin.answers import KeyAnswer, TenantAnswer
from headrace.gateway.limits.wire import LimitsBody
from headrace.schema.errors import ErrorCode, HeadraceError


class ShownTenant(TenantAnswer, frozen=True, kw_only=True):
    """A tenant.

    Attributes:
        left: its limits; None where nobody knows what is left of them.
    """

    left: tuple[LimitState, ...] | None = None


class ShownKey(KeyAnswer, frozen=True, kw_only=True):
    """A key.

    Attributes:
        left: its own limits; None where nobody knows what is left of them.
    """

    left: tuple[LimitState, ...] | None = None


async def find_tenant(admin: AccountsAdmin, tenant: str) -> Tenant:
    """Return a tenant, with what is left where a gateway is asked: the database does not know what runs."""
    found = await admin.find_tenant(tenant)
    if not isinstance(admin, AdminClient):
        return found
    return ShownTenant(**structs.asdict(found), left=await _find_left(admin.tenant_limits(found.id)))


async def find_key(admin: AccountsAdmin, key: str) -> ApiKey:
    """Return a key, with what is left where a gateway is asked: the database does not know what runs."""
    found = await admin.find_key(key)
    if not isinstance(admin, AdminClient):
        return found
    return ShownKey(**structs.asdict(found), left=await _find_left(admin.key_limits(found.id)))


async def _find_left(asking: Awaitable[LimitsBody]) -> tuple[LimitState, ...] | None:
    try:
        return (await asking).data
    except HeadraceError as error:
        # A gateway of before, or one that can't read its quotas now: the rest is shown all the same.
        if error.code in (ErrorCode.NOT_FOUND, ErrorCode.ACCOUNTS_UNAVAILABLE):
            return None
        raise
