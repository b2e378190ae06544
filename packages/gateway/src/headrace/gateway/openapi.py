"""The OpenAPI description, put together from what each dialect says of its routes."""

from headrace.gateway.admin import describe as admin
from headrace.gateway.describing import Components, Schema, describe_errors, describe_json, describe_read
from headrace.gateway.dialects.anthropic import describe as anthropic
from headrace.gateway.dialects.models import describe_model_paths
from headrace.gateway.dialects.native import describe as native
from headrace.gateway.dialects.native.wire import ErrorBody
from headrace.gateway.dialects.openai import describe as openai
from headrace.gateway.dialects.openai.responses import describe as responses
from headrace.gateway.limits import describe as limits
from headrace.gateway.usage import describe as usage

_PROBE = {"type": "object", "properties": {"status": {"type": "string"}}}
_READINESS = {
    "type": "object",
    "properties": {"status": {"type": "string"}, "checks": {"type": "object"}},
}


def describe_api(version: str, *, has_admin: bool = False, has_usage: bool = False, has_limits: bool = False) -> Schema:
    """Return the OpenAPI 3.1 document, with the admin API, the usage ledger and limits where there are any."""
    bodies = (*openai.BODIES, *responses.BODIES, *anthropic.BODIES, *native.BODIES)
    if has_admin:
        bodies += admin.BODIES
    if has_usage:
        bodies += usage.BODIES
    if has_limits:
        bodies += limits.BODIES
    components = Components(bodies)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headrace", "version": version},
        "paths": {
            **openai.describe_paths(components),
            **responses.describe_paths(components),
            **anthropic.describe_paths(components),
            **describe_model_paths(components),
            **native.describe_paths(components),
            **_operations_paths(components),
            **(admin.describe_paths(components) if has_admin else {}),
            **(usage.describe_paths(components, has_admin=has_admin) if has_usage else {}),
            **(limits.describe_paths(components, has_admin=has_admin) if has_limits else {}),
        },
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "anthropic_key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
            },
        },
        "security": [{"key": []}, {"anthropic_key": []}],
    }


def _operations_paths(components: Components) -> Schema:
    errors = describe_errors(components.of(ErrorBody))
    is_open: Schema = {"security": []}
    text = {"200": {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    description = {"200": describe_json("This description.", {"type": "object"})}
    not_ready = {"503": describe_json("Not ready.", _READINESS)}
    return {
        "/livez": {"get": describe_read("showLife", _PROBE, {}) | is_open},
        "/readyz": {"get": describe_read("showReadiness", _READINESS, not_ready) | is_open},
        "/health": {"get": describe_read("showHealth", _READINESS, not_ready) | is_open},
        "/metrics": {"get": {"operationId": "showMetrics", "responses": {**text, "401": errors["401"]}}},
        "/schema": {"get": {"operationId": "showDescription", "responses": description} | is_open},
        "/schema/openapi.json": {"get": {"operationId": "showDescriptionFile", "responses": description} | is_open},
    }
