"""The routes of the ledger."""

import time
from collections.abc import Callable, Iterable

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from headrace.accounts.ledger.report import UsageReport
from headrace.gateway.admin.reading import read_query
from headrace.gateway.asgi import HttpRequest
from headrace.gateway.auth import ADMINISTRATORS
from headrace.gateway.callers import caller_of
from headrace.gateway.usage.query import ADMIN_PARAMETERS, PARAMETERS, read_format, read_usage_query
from headrace.gateway.usage.render import to_body, to_csv
from headrace.schema.caller import ANONYMOUS, Caller

NEXT_PAGE_HEADER = "Headrace-Next-Page"
"""Where a page of lines says what `page` must be for the next one."""


def make_usage_routes(
    report: UsageReport,
    *,
    currency: str,
    has_admin: bool,
    served_to: Callable[[Caller], Iterable[str]],
    clock: Callable[[], float] = time.time,
) -> list[HTTPRouteHandler]:
    """Return the route handlers.

    Args:
        report: adds up the ledger.
        currency: what costs are in.
        has_admin: whether there is an admin API.
        served_to: the served names that a caller may know.
        clock: Unix seconds.
    """

    async def answer(request: HttpRequest, caller: Caller, tenant_id: str | None) -> Response[bytes]:
        parameters = ADMIN_PARAMETERS if tenant_id is None else PARAMETERS
        given = read_query(request, *parameters)
        query = read_usage_query(given, now=clock(), tenant_id=tenant_id, served=frozenset(served_to(caller)))
        kind = read_format(given, request.headers.get("accept", ""))
        page = await report.read(query)
        headers = {"Cache-Control": "no-store"}
        if kind == "json":
            body = msgspec.json.encode(to_body(query, page, currency=currency))
            return Response(body, media_type="application/json", headers=headers)
        if page.after is not None:
            headers[NEXT_PAGE_HEADER] = page.after
        return Response(to_csv(query, page).encode(), media_type="text/csv", headers=headers)

    @get("/v1/usage")
    async def show_usage(request: HttpRequest) -> Response[bytes]:
        caller = caller_of(request)
        return await answer(request, caller, caller.tenant_id)

    @get("/admin/v1/usage", opt=ADMINISTRATORS)
    async def show_all_usage(request: HttpRequest) -> Response[bytes]:
        return await answer(request, ANONYMOUS, None)

    return [show_usage, show_all_usage] if has_admin else [show_usage]
