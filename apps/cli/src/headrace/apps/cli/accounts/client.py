"""`AccountsAdmin` through the admin API of a gateway."""

from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from headrace.accounts.secrets import to_reference
from headrace.accounts.values import (
    PAGE_SIZE,
    ApiKey,
    AuditEntry,
    IssuedKey,
    KeyDraft,
    KeyPatch,
    Page,
    Rotation,
    Tenant,
    TenantDraft,
    TenantPatch,
)
from headrace.gateway.admin.answers import IssuedKeyAnswer, KeyAnswer, TenantAnswer
from headrace.gateway.limits.wire import LimitsBody
from headrace.schema.errors import ErrorCode, HeadraceError

ROOT = "/admin/v1"
ACTOR_HEADER = "Headrace-Actor"

T = TypeVar("T")


class ErrorDetail(Struct, frozen=True):
    """What a gateway says is wrong."""

    code: str
    message: str
    param: str | None = None


class ErrorBody(Struct, frozen=True):
    """How a gateway says it."""

    error: ErrorDetail


class AdminClient:
    """Changes accounts by HTTP.

    Args:
        http: with the gateway's address and the administrators' key.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def create_tenant(self, draft: TenantDraft) -> Tenant:
        """See `AccountsAdmin`."""
        return _read(await self._send("POST", "/tenants", draft), TenantAnswer)

    async def list_tenants(self, *, after: str | None = None, limit: int = PAGE_SIZE) -> Page[Tenant]:
        """See `AccountsAdmin`."""
        return _read(await self._send("GET", "/tenants", query={"after": after, "limit": limit}), Page[TenantAnswer])

    async def find_tenant(self, tenant: str) -> Tenant:
        """See `AccountsAdmin`."""
        return _read(await self._send("GET", f"/tenants/{_quoted(tenant)}"), TenantAnswer)

    async def change_tenant(self, tenant: str, patch: TenantPatch) -> Tenant:
        """See `AccountsAdmin`."""
        return _read(await self._send("PATCH", f"/tenants/{_quoted(tenant)}", patch), TenantAnswer)

    async def delete_tenant(self, tenant: str) -> None:
        """See `AccountsAdmin`."""
        await self._send("DELETE", f"/tenants/{_quoted(tenant)}")

    async def create_key(self, draft: KeyDraft) -> IssuedKey:
        """See `AccountsAdmin`."""
        answer: IssuedKeyAnswer = _read(await self._send("POST", "/keys", draft), IssuedKeyAnswer)
        return IssuedKey(key=answer.key, secret=answer.secret)

    async def list_keys(
        self, *, tenant: str | None = None, after: str | None = None, limit: int = PAGE_SIZE
    ) -> Page[ApiKey]:
        """See `AccountsAdmin`."""
        query = {"tenant": tenant, "after": after, "limit": limit}
        return _read(await self._send("GET", "/keys", query=query), Page[KeyAnswer])

    async def find_key(self, key: str) -> ApiKey:
        """See `AccountsAdmin`."""
        return _read(await self._send("GET", _key_path(key)), KeyAnswer)

    async def change_key(self, key: str, patch: KeyPatch) -> ApiKey:
        """See `AccountsAdmin`."""
        return _read(await self._send("PATCH", _key_path(key), patch), KeyAnswer)

    async def rotate_key(self, key: str, rotation: Rotation) -> IssuedKey:
        """See `AccountsAdmin`."""
        answer: IssuedKeyAnswer = _read(await self._send("POST", f"{_key_path(key)}/rotate", rotation), IssuedKeyAnswer)
        return IssuedKey(key=answer.key, secret=answer.secret)

    async def revoke_key(self, key: str) -> ApiKey:
        """See `AccountsAdmin`."""
        return _read(await self._send("POST", f"{_key_path(key)}/revoke"), KeyAnswer)

    async def delete_key(self, key: str) -> None:
        """See `AccountsAdmin`."""
        await self._send("DELETE", _key_path(key))

    async def tenant_limits(self, tenant: str) -> LimitsBody:
        """Return what is left of a tenant's limits."""
        return _read(await self._send("GET", f"/tenants/{_quoted(tenant)}/limits"), LimitsBody)

    async def key_limits(self, key: str) -> LimitsBody:
        """Return what is left of a key's own limits."""
        return _read(await self._send("GET", f"{_key_path(key)}/limits"), LimitsBody)

    async def list_audit(
        self, *, tenant: str | None = None, before: int | None = None, limit: int = PAGE_SIZE
    ) -> Page[AuditEntry]:
        """See `AccountsAdmin`."""
        query = {"tenant": tenant, "before": before, "limit": limit}
        return _read(await self._send("GET", "/audit", query=query), Page[AuditEntry])

    async def _send(
        self,
        method: str,
        path: str,
        body: Struct | None = None,
        *,
        query: Mapping[str, str | int | None] | None = None,
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"Content-Type": "application/json"} if content else {}
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = await self._http.request(method, ROOT + path, content=content, headers=headers, params=given)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = str(error) or type(error).__name__
            raise HeadraceError(
                ErrorCode.ACCOUNTS_UNAVAILABLE, f"no gateway answers at {self._http.base_url}: {reason}"
            ) from None
        if answer.is_error:
            raise _failure_of(answer)
        return answer


def _read(answer: httpx.Response, kind: Any) -> Any:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.DecodeError:
        raise HeadraceError(
            ErrorCode.ACCOUNTS_UNAVAILABLE, f"what answers at {answer.request.url.host} is no gateway of this version"
        ) from None


def _failure_of(answer: httpx.Response) -> HeadraceError:
    try:
        detail = msgspec.json.decode(answer.content, type=ErrorBody).error
        code = ErrorCode(detail.code)
    except (msgspec.DecodeError, ValueError):
        return HeadraceError(
            ErrorCode.ACCOUNTS_UNAVAILABLE, f"what answers at {answer.request.url.host} says {answer.status_code}"
        )
    message = detail.message
    if code == ErrorCode.UNAUTHORIZED:
        message = "the administrators' key is missing or wrong: set HEADRACE_ACCOUNTS_ADMIN_KEY"
    elif code == ErrorCode.NOT_FOUND and detail.param is None:
        message += "; the gateway needs accounts.enabled and accounts.admin_key, or use --database"
    return HeadraceError(code, message, param=detail.param)


def _key_path(key: str) -> str:
    # Only the prefix of a whole key goes into an address: addresses are logged on the way.
    return f"/keys/{_quoted(to_reference(key))}"


def _quoted(name: str) -> str:
    return quote(name, safe="")
