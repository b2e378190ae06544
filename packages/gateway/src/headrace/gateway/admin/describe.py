"""The admin API in the OpenAPI description."""

from typing import Any

from msgspec import Struct

from headrace.accounts.values import (
    MAX_PAGE_SIZE,
    AuditEntry,
    KeyDraft,
    KeyPatch,
    Page,
    Rotation,
    TenantDraft,
    TenantPatch,
)
from headrace.gateway.admin.answers import IssuedKeyAnswer, KeyAnswer, TenantAnswer
from headrace.gateway.admin.reading import ACTOR_HEADER
from headrace.gateway.describing import (
    Components,
    Schema,
    describe_errors,
    describe_json,
    describe_path_parameter,
    describe_read,
)
from headrace.gateway.dialects.native.wire import ErrorBody

Body = type[Struct]
_TENANTS: Any = Page[TenantAnswer]
_KEYS: Any = Page[KeyAnswer]
_ENTRIES: Any = Page[AuditEntry]
BODIES: tuple[Body, ...] = (
    *(TenantDraft, TenantPatch, TenantAnswer, KeyDraft, KeyPatch, KeyAnswer, IssuedKeyAnswer, Rotation),
    *(_TENANTS, _KEYS, _ENTRIES),
)
_ACTOR = {
    "name": ACTOR_HEADER,
    "in": "header",
    "description": "Who makes the change, for the audit log.",
    "schema": {"type": "string", "maxLength": 64},
}
TENANT_PARAMETER = describe_path_parameter("tenant", "Its id or its name.")
_TENANT_FILTER = {
    "name": "tenant",
    "in": "query",
    "description": "Of this tenant only, by its id or its name.",
    "schema": {"type": "string"},
}
KEY_PARAMETER = describe_path_parameter(
    "key", "Its id, the prefix of a secret of it, or its name if no other key has it."
)


class _Paths:
    """Writes operations with what all of them share."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._errors = describe_errors(components.of(ErrorBody))

    def read(self, name: str, answer: Body, *parameters: Schema) -> Schema:
        schema = self._components.of(answer)
        return describe_read(name, schema, self._errors) | {"parameters": list(parameters)}

    def write(self, name: str, body: Body | None, answer: Body, *parameters: Schema, status: str = "200") -> Schema:
        shown = describe_json("As it is now.", self._components.of(answer))
        operation: Schema = {
            "operationId": name,
            "parameters": [*parameters, _ACTOR],
            "responses": {status: shown, **self._errors},
        }
        if body is not None:
            content = {"application/json": {"schema": self._components.of(body)}}
            operation["requestBody"] = {"required": body is not Rotation, "content": content}
        return operation

    def delete(self, name: str, *parameters: Schema) -> Schema:
        responses = {"204": {"description": "It is gone."}, **self._errors}
        return {"operationId": name, "parameters": [*parameters, _ACTOR], "responses": responses}


def describe_paths(components: Components) -> Schema:
    """Return the paths of the admin API."""
    paths = _Paths(components)
    return {
        "/admin/v1/tenants": {
            "get": paths.read("listTenants", _TENANTS, _query("after"), _limit()),
            "post": paths.write("createTenant", TenantDraft, TenantAnswer, status="201"),
        },
        "/admin/v1/tenants/{tenant}": {
            "get": paths.read("showTenant", TenantAnswer, TENANT_PARAMETER),
            "patch": paths.write("updateTenant", TenantPatch, TenantAnswer, TENANT_PARAMETER),
            "delete": paths.delete("deleteTenant", TENANT_PARAMETER),
        },
        "/admin/v1/keys": {
            "get": paths.read("listKeys", _KEYS, _TENANT_FILTER, _query("after"), _limit()),
            "post": paths.write("createKey", KeyDraft, IssuedKeyAnswer, status="201"),
        },
        "/admin/v1/keys/{key}": {
            "get": paths.read("showKey", KeyAnswer, KEY_PARAMETER),
            "patch": paths.write("updateKey", KeyPatch, KeyAnswer, KEY_PARAMETER),
            "delete": paths.delete("deleteKey", KEY_PARAMETER),
        },
        "/admin/v1/keys/{key}/rotate": {"post": paths.write("rotateKey", Rotation, IssuedKeyAnswer, KEY_PARAMETER)},
        "/admin/v1/keys/{key}/revoke": {"post": paths.write("revokeKey", None, KeyAnswer, KEY_PARAMETER)},
        "/admin/v1/audit": {"get": paths.read("listAudit", _ENTRIES, _TENANT_FILTER, _query("before"), _limit())},
    }


def _query(name: str) -> Schema:
    return {"name": name, "in": "query", "schema": {"type": "string"}}


def _limit() -> Schema:
    return {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE}}
