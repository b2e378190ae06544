"""The limits in the OpenAPI description."""

from msgspec import Struct

from headrace.gateway.admin.describe import KEY_PARAMETER, TENANT_PARAMETER
from headrace.gateway.describing import (
    Components,
    Schema,
    describe_errors,
    describe_read,
)
from headrace.gateway.dialects.native.wire import ErrorBody
from headrace.gateway.dialects.openai.wire import OpenAIErrorBody
from headrace.gateway.limits.wire import LimitsBody

BODIES: tuple[type[Struct], ...] = (LimitsBody,)


def describe_paths(components: Components, *, has_admin: bool) -> Schema:
    """Return the paths of the limits."""
    body = components.of(LimitsBody)
    paths: Schema = {
        "/v1/limits": {"get": describe_read("showLimits", body, describe_errors(components.of(OpenAIErrorBody)))}
    }
    if not has_admin:
        return paths
    errors = describe_errors(components.of(ErrorBody))
    return paths | {
        "/admin/v1/tenants/{tenant}/limits": {
            "get": describe_read("showTenantLimits", body, errors) | {"parameters": [TENANT_PARAMETER]}
        },
        "/admin/v1/keys/{key}/limits": {
            "get": describe_read("showKeyLimits", body, errors) | {"parameters": [KEY_PARAMETER]}
        },
    }
