"""The routes of the admin API. Who may come in is checked by the guard; what is done, by `AccountsAdmin`."""

from collections.abc import Callable, Collection

import msgspec
from litestar import Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from headrace.accounts.admin import AccountsAdmin
from headrace.accounts.values import KeyDraft, KeyPatch, Page, Rotation, TenantDraft, TenantPatch
from headrace.gateway.admin.answers import answer_issued, answer_key, answer_tenant
from headrace.gateway.admin.reading import BodyOf, read_actor, read_limit, read_number, read_query
from headrace.gateway.asgi import HttpRequest
from headrace.gateway.auth import ADMINISTRATORS

_MAX_NUMBER = 2**53


def make_admin_routes(
    admin_for: Callable[[str], AccountsAdmin], *, served: Callable[[], Collection[str]]
) -> list[HTTPRouteHandler]:
    """Return the route handlers.

    Args:
        admin_for: returns what makes changes in the name of an actor.
        served: returns the served names of now.
    """

    def admin_of(http: HttpRequest) -> AccountsAdmin:
        return admin_for(read_actor(http))

    return [
        *_make_tenant_routes(admin_of, served),
        *_make_key_routes(admin_of, served),
        *_make_key_actions(admin_of, served),
    ]


AdminOf = Callable[[HttpRequest], AccountsAdmin]
Served = Callable[[], Collection[str]]


def _make_tenant_routes(admin_of: AdminOf, served: Served) -> list[HTTPRouteHandler]:
    drafts, patches = BodyOf(TenantDraft), BodyOf(TenantPatch)

    @post("/admin/v1/tenants", opt=ADMINISTRATORS)
    async def create_tenant(request: HttpRequest) -> Response[bytes]:
        made = await admin_of(request).create_tenant(await drafts.read(request))
        return _show(answer_tenant(made, served()), status=201)

    @get("/admin/v1/tenants", opt=ADMINISTRATORS)
    async def list_tenants(request: HttpRequest) -> Response[bytes]:
        query = read_query(request, "after", "limit")
        page = await admin_of(request).list_tenants(after=query.get("after"), limit=read_limit(query))
        known = served()
        return _show(Page(data=tuple(answer_tenant(tenant, known) for tenant in page.data), next=page.next))

    @get("/admin/v1/tenants/{tenant:str}", opt=ADMINISTRATORS)
    async def show_tenant(request: HttpRequest, tenant: FromPath[str]) -> Response[bytes]:
        return _show(answer_tenant(await admin_of(request).find_tenant(tenant), served()))

    @patch("/admin/v1/tenants/{tenant:str}", opt=ADMINISTRATORS)
    async def update_tenant(request: HttpRequest, tenant: FromPath[str]) -> Response[bytes]:
        changed = await admin_of(request).change_tenant(tenant, await patches.read(request))
        return _show(answer_tenant(changed, served()))

    @delete("/admin/v1/tenants/{tenant:str}", opt=ADMINISTRATORS)
    async def delete_tenant(request: HttpRequest, tenant: FromPath[str]) -> None:
        await admin_of(request).delete_tenant(tenant)

    return [create_tenant, list_tenants, show_tenant, update_tenant, delete_tenant]


def _make_key_routes(admin_of: AdminOf, served: Served) -> list[HTTPRouteHandler]:
    drafts, patches = BodyOf(KeyDraft), BodyOf(KeyPatch)

    @post("/admin/v1/keys", opt=ADMINISTRATORS)
    async def create_key(request: HttpRequest) -> Response[bytes]:
        made = await admin_of(request).create_key(await drafts.read(request))
        return _show(answer_issued(made, served()), status=201)

    @get("/admin/v1/keys", opt=ADMINISTRATORS)
    async def list_keys(request: HttpRequest) -> Response[bytes]:
        query = read_query(request, "tenant", "after", "limit")
        page = await admin_of(request).list_keys(
            tenant=query.get("tenant"), after=query.get("after"), limit=read_limit(query)
        )
        known = served()
        return _show(Page(data=tuple(answer_key(key, known) for key in page.data), next=page.next))

    @get("/admin/v1/keys/{key:str}", opt=ADMINISTRATORS)
    async def show_key(request: HttpRequest, key: FromPath[str]) -> Response[bytes]:
        return _show(answer_key(await admin_of(request).find_key(key), served()))

    @patch("/admin/v1/keys/{key:str}", opt=ADMINISTRATORS)
    async def update_key(request: HttpRequest, key: FromPath[str]) -> Response[bytes]:
        changed = await admin_of(request).change_key(key, await patches.read(request))
        return _show(answer_key(changed, served()))

    @delete("/admin/v1/keys/{key:str}", opt=ADMINISTRATORS)
    async def delete_key(request: HttpRequest, key: FromPath[str]) -> None:
        await admin_of(request).delete_key(key)

    return [create_key, list_keys, show_key, update_key, delete_key]


def _make_key_actions(admin_of: AdminOf, served: Served) -> list[HTTPRouteHandler]:
    rotations = BodyOf(Rotation, if_empty=Rotation())

    @post("/admin/v1/keys/{key:str}/rotate", status_code=200, opt=ADMINISTRATORS)
    async def rotate_key(request: HttpRequest, key: FromPath[str]) -> Response[bytes]:
        rotated = await admin_of(request).rotate_key(key, await rotations.read(request))
        return _show(answer_issued(rotated, served()))

    @post("/admin/v1/keys/{key:str}/revoke", status_code=200, opt=ADMINISTRATORS)
    async def revoke_key(request: HttpRequest, key: FromPath[str]) -> Response[bytes]:
        return _show(answer_key(await admin_of(request).revoke_key(key), served()))

    @get("/admin/v1/audit", opt=ADMINISTRATORS)
    async def list_audit(request: HttpRequest) -> Response[bytes]:
        query = read_query(request, "tenant", "before", "limit")
        before = read_number(query, "before", most=_MAX_NUMBER)
        page = await admin_of(request).list_audit(tenant=query.get("tenant"), before=before, limit=read_limit(query))
        return _show(page)

    return [rotate_key, revoke_key, list_audit]


def _show(value: object, *, status: int = 200) -> Response[bytes]:
    # A secret is shown once: nobody on the way shall keep it.
    headers = {"Cache-Control": "no-store"}
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json", headers=headers)
