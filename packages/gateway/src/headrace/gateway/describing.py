"""The pieces of an OpenAPI description, for the modules that describe their own routes.

Litestar describes what it decodes itself. It decodes nothing here, so that errors keep the shape of their dialect: the
bodies are described by msgspec instead, with every limit, and a test holds the paths to the routes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from headrace.gateway.headers import (
    IDEMPOTENCY_HEADER,
    LANE_HEADER,
    LOCAL_ONLY,
    PRIORITY_HEADER,
    PRIVACY_HEADER,
    REQUEST_ID_HEADER,
    RETAIN_HEADER,
    ROUTE_HEADER,
    TIMEOUT_HEADER,
)
from headrace.gateway.retained.wish import MAX_KEY_LENGTH
from headrace.schema.errors import ERROR_TABLE
from headrace.schema.names import LANES
from headrace.schema.task import MAX_PRIORITY

Schema = dict[str, Any]

_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_CALL_HEADERS: tuple[Schema, ...] = (
    {
        "name": TIMEOUT_HEADER,
        "in": "header",
        "description": "Most seconds that the call may take.",
        "schema": {"type": "number", "exclusiveMinimum": 0},
    },
    {
        "name": PRIORITY_HEADER,
        "in": "header",
        "description": "The higher the sooner.",
        "schema": {"type": "integer", "minimum": 0, "maximum": MAX_PRIORITY},
    },
    {
        "name": PRIVACY_HEADER,
        "in": "header",
        "description": "The call must not leave for an outside provider.",
        "schema": {"const": LOCAL_ONLY},
    },
    {
        "name": LANE_HEADER,
        "in": "header",
        "description": "Whether somebody waits for the answer; the batch lane takes what the online lane leaves over.",
        "schema": {"type": "string", "enum": list(LANES), "default": "online"},
    },
    {
        "name": RETAIN_HEADER,
        "in": "header",
        "description": "Whether the generation goes on without its call, and can be taken up again.",
        "schema": {"type": "boolean"},
    },
    {
        "name": IDEMPOTENCY_HEADER,
        "in": "header",
        "description": "A call that is sent again with the same key is run once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[!-~]+$"},
    },
)
_ANSWER_HEADERS = {
    REQUEST_ID_HEADER: {"description": "The id of the generation.", "schema": {"type": "string"}},
    ROUTE_HEADER: {
        "description": "Who answers, if that was known when the headers left: `own`, or `provider:NAME`.",
        "schema": {"type": "string"},
    },
}


class Components:
    """The schemas of all bodies.

    Args:
        kinds: the Structs of every body of every dialect.
    """

    def __init__(self, kinds: Sequence[type[Struct]]) -> None:
        references, self.schemas = msgspec.json.schema_components(kinds, ref_template=_REF)
        self._references: dict[type[Struct], Schema] = dict(zip(kinds, references, strict=True))

    def of(self, kind: type[Struct]) -> Schema:
        """Return the reference to a body's schema."""
        return self._references[kind]


def describe_generation(
    *, operation_id: str, body: Schema, whole: Schema, frame: Schema, errors: Mapping[str, Schema]
) -> Schema:
    """Return a call that generates, whole or as a stream."""
    answer: Schema = {
        "description": "The whole answer, or with `stream` the data of each frame of the stream.",
        "headers": _ANSWER_HEADERS,
        "content": {_JSON: {"schema": whole}, "text/event-stream": {"schema": frame}},
    }
    return {
        "operationId": operation_id,
        "parameters": list(_CALL_HEADERS),
        "requestBody": {"required": True, "content": {_JSON: {"schema": body}}},
        "responses": {"200": answer, **errors},
    }


def describe_retained(state: Schema, frame: Schema, errors: Mapping[str, Schema]) -> Schema:
    """Return a call that finds a generation again."""
    answer: Schema = {
        "description": "The generation as it stands, or for a client that accepts them the data of each frame.",
        "headers": _ANSWER_HEADERS,
        "content": {_JSON: {"schema": state}, "text/event-stream": {"schema": frame}},
    }
    nothing: Schema = {"description": "The generation has ended, and the client has all of it."}
    return {"operationId": "showGeneration", "responses": {"200": answer, "204": nothing, **errors}}


def describe_read(operation_id: str, schema: Schema, errors: Mapping[str, Schema]) -> Schema:
    """Return a call that is answered with one JSON body."""
    return {"operationId": operation_id, "responses": {"200": describe_json("The answer.", schema), **errors}}


def describe_json(description: str, schema: Schema) -> Schema:
    """Return an answer with a JSON body."""
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def describe_path_parameter(name: str, description: str) -> Schema:
    """Return a parameter in the path."""
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def describe_errors(schema: Schema) -> dict[str, Schema]:
    """Return the error answers that every call may have, by status."""
    codes: dict[int, Sequence[str]] = {}
    for code, answer in ERROR_TABLE.items():
        codes[answer.status] = [*codes.get(answer.status, ()), code.value]
    return {str(status): describe_json(", ".join(codes[status]), schema) for status in sorted(codes)}
