"""OpenAI's `response_format`."""

from typing import Any

from msgspec import Struct

from headrace.gateway.dialects.openai.chat.refusing import unsupported_value, wrong_type
from headrace.gateway.dialects.openai.chat.tools import check_name
from headrace.gateway.json_schema import check_json_schema
from headrace.schema.formats import JsonObjectFormat, JsonSchemaFormat, ResponseFormat, TextFormat

_TYPES = ("text", "json_object", "json_schema")


class JsonSchemaBody(Struct, frozen=True, kw_only=True):
    """A schema with its name. The answer is held to it whatever `strict` says."""

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None


class ResponseFormatBody(Struct, frozen=True, kw_only=True):
    """What form the answer must have; `json_schema` belongs to the type of that name."""

    type: str
    json_schema: JsonSchemaBody | None = None


def to_response_format(body: ResponseFormatBody | None) -> ResponseFormat:
    """Return the form of the answer.

    Raises:
        RequestRefusedError: there is no such form, or its schema is none.
    """
    if body is None or body.type == "text":
        return TextFormat()
    if body.type == "json_object":
        return JsonObjectFormat()
    if body.type != "json_schema":
        raise unsupported_value("response_format.type", body.type, _TYPES)
    if body.json_schema is None:
        raise wrong_type("response_format.json_schema", "an object")
    return _to_schema(body.json_schema, "response_format.json_schema")


def _to_schema(body: JsonSchemaBody, path: str) -> ResponseFormat:
    check_name(body.name, f"{path}.name")
    if body.schema is None:
        return JsonObjectFormat()
    check_json_schema(body.schema, param=f"{path}.schema")
    return JsonSchemaFormat(schema=body.schema, name=body.name, description=body.description)
