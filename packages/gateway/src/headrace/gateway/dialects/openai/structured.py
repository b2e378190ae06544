"""vLLM's structured outputs: JSON, a regular expression, a choice or a grammar, by their newer and older names."""

from typing import Any, cast

import msgspec
from msgspec import Struct

from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.json_schema import check_json_schema
from headrace.schema.formats import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)

_MAX_CHOICES = 1024
_OLDER_FIELDS = ("guided_choice", "guided_grammar", "guided_json", "guided_regex")


class StructuredOutputs(Struct, frozen=True, kw_only=True):
    """What form the answer must have; exactly one of these."""

    choice: tuple[str, ...] | None = None
    grammar: str | None = None
    json: dict[str, Any] | str | None = None
    json_object: bool | None = None
    regex: str | None = None


class StructureFields(Struct, frozen=True, kw_only=True):
    """The newer field and the older ones, for a body to inherit."""

    guided_choice: tuple[str, ...] | None = None
    guided_grammar: str | None = None
    guided_json: dict[str, Any] | str | None = None
    guided_regex: str | None = None
    structured_outputs: StructuredOutputs | None = None


def to_structure(body: StructureFields) -> ResponseFormat | None:
    """Return the form that a body asks for by vLLM's fields, or None where it asks for none.

    Raises:
        RequestRefusedError: it asks for more than one, or for one that is none.
    """
    found = [(path, value) for path, value in _list_asked(body) if value is not None and value is not False]
    if not found:
        if body.structured_outputs is not None:
            raise _refuse("must ask for one of json, regex, choice, grammar and json_object", "structured_outputs")
        return None
    path, value = found[0]
    if len(found) > 1:
        raise _refuse(f"does not go with '{path}': only one form can be asked for", found[1][0])
    return _to_format(path, value)


def _list_asked(body: StructureFields) -> list[tuple[str, Any]]:
    newer = body.structured_outputs or StructuredOutputs()
    return [
        *((f"structured_outputs.{name}", getattr(newer, name)) for name in newer.__struct_fields__),
        *((name, getattr(body, name)) for name in _OLDER_FIELDS),
    ]


def _to_format(path: str, value: Any) -> ResponseFormat:
    if value in ("", ()):
        raise RequestRefusedError(f"'{path}' must not be empty", reason="empty_string", param=path)
    match path.removeprefix("structured_outputs.").removeprefix("guided_"):
        case "choice":
            return _to_choice(path, value)
        case "grammar":
            return GrammarFormat(value)
        case "regex":
            return RegexFormat(value)
        case "json_object":
            return JsonObjectFormat()
        case _:
            schema = _read_schema(path, value)
            check_json_schema(schema, param=path)
            return JsonSchemaFormat(schema=schema)


def _to_choice(path: str, choices: tuple[str, ...]) -> ChoiceFormat:
    if len(choices) > _MAX_CHOICES:
        message = f"'{path}' may have at most {_MAX_CHOICES} items"
        raise RequestRefusedError(message, reason="array_above_max_length", param=path)
    if not all(choices):
        raise RequestRefusedError(f"'{path}' must not have empty texts", reason="empty_string", param=path)
    return ChoiceFormat(choices)


def _read_schema(path: str, value: Any) -> dict[str, Any]:
    """Return a schema that may have come as a text."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise _refuse("is not JSON", path) from None
    if not isinstance(value, dict):
        raise _refuse("must be a JSON object", path)
    return cast("dict[str, Any]", value)


def _refuse(problem: str, param: str) -> RequestRefusedError:
    return RequestRefusedError(f"'{param}' {problem}", reason="invalid_value", param=param)
