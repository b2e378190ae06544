"""The routes of limits."""

from collections.abc import Callable, Sequence

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from headrace.accounts.admin import AccountsAdmin
from headrace.accounts.quota.remaining import LimitsReport, LimitState
from headrace.gateway.admin.reading import read_actor, read_query
from headrace.gateway.asgi import HttpRequest
from headrace.gateway.auth import ADMINISTRATORS
from headrace.gateway.callers import caller_of
from headrace.gateway.limits.wire import LimitsBody


def make_limits_routes(
    report: LimitsReport, *, currency: str, admin_for: Callable[[str], AccountsAdmin] | None
) -> list[HTTPRouteHandler]:
    """Return the route handlers.

    Args:
        report: knows what is left.
        currency: what costs are in.
        admin_for: finds tenants and keys; None where there is no admin API.
    """

    def show(limits: Sequence[LimitState]) -> Response[bytes]:
        body = msgspec.json.encode(LimitsBody(data=tuple(limits), currency=currency))
        return Response(body, media_type="application/json", headers={"Cache-Control": "no-store"})

    @get("/v1/limits")
    async def show_limits(request: HttpRequest) -> Response[bytes]:
        read_query(request)
        return show(await report.of_caller(caller_of(request)))

    if admin_for is None:
        return [show_limits]
    find = admin_for

    @get("/admin/v1/keys/{key:str}/limits", opt=ADMINISTRATORS)
    async def show_key_limits(request: HttpRequest, key: FromPath[str]) -> Response[bytes]:
        read_query(request)
        found = await find(read_actor(request)).find_key(key)
        return show(await report.of_key(found.tenant_id, found.id, found.limits))

    @get("/admin/v1/tenants/{tenant:str}/limits", opt=ADMINISTRATORS)
    async def show_tenant_limits(request: HttpRequest, tenant: FromPath[str]) -> Response[bytes]:
        read_query(request)
        found = await find(read_actor(request)).find_tenant(tenant)
        return show(await report.of_tenant(found.id, found.limits))

    return [show_limits, show_key_limits, show_tenant_limits]
