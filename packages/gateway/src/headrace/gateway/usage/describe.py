"""The ledger in the OpenAPI description."""

from msgspec import Struct

from headrace.accounts.ledger.report import DIMENSIONS, MAX_ROWS
from headrace.gateway.describing import Components, Schema, describe_errors
from headrace.gateway.dialects.native.wire import ErrorBody
from headrace.gateway.dialects.openai.wire import OpenAIErrorBody
from headrace.gateway.usage.wire import UsageBody

BODIES: tuple[type[Struct], ...] = (UsageBody,)
_TIME = "Unix seconds, a date (UTC), or an instant of ISO 8601."
_PARAMETERS = (
    ("start", f"First instant: {_TIME} Without it, the beginning of this month."),
    ("end", f"First instant that is too late: {_TIME} Without it, now."),
    ("group_by", f"A result for each of what differs in these, with commas between them: {', '.join(DIMENSIONS)}."),
    ("key", "Of this key only, by its id, its prefix, or its name where no other one has it."),
    ("model", "Of this served name only."),
    ("page", "`next_page` of the page before."),
)


def describe_paths(components: Components, *, has_admin: bool) -> Schema:
    """Return the paths of the ledger."""
    paths = {"/v1/usage": {"get": _describe(components, "showUsage", OpenAIErrorBody, ())}}
    if has_admin:
        tenant = ("tenant", "Of this tenant only, by its id or its name.")
        paths["/admin/v1/usage"] = {"get": _describe(components, "showAllUsage", ErrorBody, (tenant,))}
    return paths


def _describe(components: Components, name: str, error: type[Struct], more: tuple[tuple[str, str], ...]) -> Schema:
    words = [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in (*_PARAMETERS, *more)
    ]
    limit = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS}
    content = {
        "application/json": {"schema": components.of(UsageBody)},
        "text/csv": {"schema": {"type": "string"}},
    }
    return {
        "operationId": name,
        "parameters": [
            *words,
            {"name": "limit", "in": "query", "description": "Most results.", "schema": limit},
            {"name": "format", "in": "query", "schema": {"type": "string", "enum": ["json", "csv"]}},
        ],
        "responses": {
            "200": {"description": "What was used.", "content": content},
            **describe_errors(components.of(error)),
        },
    }
