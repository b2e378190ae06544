"""The OpenAPI description, written from the Structs that are decoded and encoded.

Litestar describes what it decodes itself. It decodes nothing here, so that errors keep the shape of their dialect: the
bodies are described by msgspec instead, with every limit, and a test holds the paths to the routes.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from headrace.gateway.dialects.native import wire as native
from headrace.gateway.dialects.openai import wire as openai
from headrace.gateway.headers import PRIORITY_HEADER, REQUEST_ID_HEADER, TIMEOUT_HEADER
from headrace.schema.errors import ERROR_TABLE
from headrace.schema.task import MAX_PRIORITY

Schema = dict[str, Any]

_REF = "#/components/schemas/{name}"
_JSON = "application/json"
_PROBE = {"type": "object", "properties": {"status": {"type": "string"}}}
_READINESS = {
    "type": "object",
    "properties": {"status": {"type": "string"}, "checks": {"type": "object"}},
}
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
)
_REQUEST_ID = {REQUEST_ID_HEADER: {"description": "The id of the generation.", "schema": {"type": "string"}}}


def describe_api(version: str) -> Schema:
    """Return the OpenAPI 3.1 document."""
    components = _Components()
    return {
        "openapi": "3.1.0",
        "info": {"title": "Headrace", "version": version},
        "paths": {
            **_openai_paths(components),
            **_native_paths(components),
            **_operations_paths(components),
        },
        "components": {
            "schemas": components.schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"key": []}],
    }


class _Components:
    """The schemas of all bodies."""

    _KINDS = (
        openai.ChatCompletionBody,
        openai.ChatCompletion,
        openai.ChatCompletionChunk,
        openai.Model,
        openai.ModelList,
        openai.OpenAIErrorBody,
        native.GenerationBody,
        native.GenerationAnswer,
        native.ChunkFrame,
        native.Cancellation,
        native.ErrorBody,
    )

    def __init__(self) -> None:
        references, self.schemas = msgspec.json.schema_components(self._KINDS, ref_template=_REF)
        self._references: dict[type[Struct], Schema] = dict(zip(self._KINDS, references, strict=True))

    def of(self, kind: type[Struct]) -> Schema:
        return self._references[kind]


def _openai_paths(components: _Components) -> Schema:
    errors = _errors(components.of(openai.OpenAIErrorBody))
    return {
        "/v1/chat/completions": {
            "post": _generation(
                operation_id="createChatCompletion",
                body=components.of(openai.ChatCompletionBody),
                whole=components.of(openai.ChatCompletion),
                frame=components.of(openai.ChatCompletionChunk),
                errors=errors,
            )
        },
        "/v1/models": {"get": _read("listModels", components.of(openai.ModelList), errors)},
        "/v1/models/{model_id}": {
            "get": _read("retrieveModel", components.of(openai.Model), errors)
            | {"parameters": [_path_parameter("model_id", "The served name; it may have slashes in it.")]}
        },
    }


def _native_paths(components: _Components) -> Schema:
    errors = _errors(components.of(native.ErrorBody))
    return {
        "/v1/generations": {
            "post": _generation(
                operation_id="createGeneration",
                body=components.of(native.GenerationBody),
                whole=components.of(native.GenerationAnswer),
                frame=components.of(native.ChunkFrame),
                errors=errors,
            )
        },
        "/v1/generations/{generation_id}": {
            "delete": _read("cancelGeneration", components.of(native.Cancellation), errors)
            | {"parameters": [_path_parameter("generation_id", f"What the header {REQUEST_ID_HEADER} said.")]}
        },
    }


def _operations_paths(components: _Components) -> Schema:
    errors = _errors(components.of(native.ErrorBody))
    is_open: Schema = {"security": []}
    text = {"200": {"description": "Metrics.", "content": {"text/plain": {"schema": {"type": "string"}}}}}
    description = {"200": _json_answer("This description.", {"type": "object"})}
    return {
        "/livez": {"get": _read("showLife", _PROBE, {}) | is_open},
        "/readyz": {
            "get": _read("showReadiness", _READINESS, {"503": _json_answer("Not ready.", _READINESS)}) | is_open
        },
        "/metrics": {"get": {"operationId": "showMetrics", "responses": {**text, "401": errors["401"]}}},
        "/schema": {"get": {"operationId": "showDescription", "responses": description} | is_open},
        "/schema/openapi.json": {"get": {"operationId": "showDescriptionFile", "responses": description} | is_open},
    }


def _generation(
    *, operation_id: str, body: Schema, whole: Schema, frame: Schema, errors: Mapping[str, Schema]
) -> Schema:
    answer: Schema = {
        "description": "The whole answer, or with `stream` the data of each frame of the stream.",
        "headers": _REQUEST_ID,
        "content": {_JSON: {"schema": whole}, "text/event-stream": {"schema": frame}},
    }
    return {
        "operationId": operation_id,
        "parameters": list(_CALL_HEADERS),
        "requestBody": {"required": True, "content": {_JSON: {"schema": body}}},
        "responses": {"200": answer, **errors},
    }


def _read(operation_id: str, schema: Schema, errors: Mapping[str, Schema]) -> Schema:
    return {"operationId": operation_id, "responses": {"200": _json_answer("The answer.", schema), **errors}}


def _json_answer(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {_JSON: {"schema": schema}}}


def _path_parameter(name: str, description: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "description": description, "schema": {"type": "string"}}


def _errors(schema: Schema) -> dict[str, Schema]:
    codes: dict[int, Sequence[str]] = {}
    for code, answer in ERROR_TABLE.items():
        codes[answer.status] = [*codes.get(answer.status, ()), code.value]
    return {str(status): _json_answer(", ".join(codes[status]), schema) for status in sorted(codes)}
