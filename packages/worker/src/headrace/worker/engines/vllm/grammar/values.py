"""Listed values: which of an `enum` meet the conditions beside it."""

from collections.abc import Mapping
from typing import Any

from headrace.worker.engines.vllm.grammar.conjoin import list_types
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError, NothingFitsError

# Conditions on values of a type that are only kept to where values are made, not where they are listed.
_UNCHECKED: dict[str, tuple[str, ...]] = {
    "string": ("pattern",),
    "number": ("multipleOf",),
    "array": ("items", "prefixItems", "uniqueItems", "minItems", "maxItems"),
    "object": (
        "properties",
        "required",
        "additionalProperties",
        "patternProperties",
        "propertyNames",
        "minProperties",
        "maxProperties",
        "dependentRequired",
        "unevaluatedProperties",
    ),
}


def list_values(schema: Mapping[str, Any]) -> list[Any]:
    """Return the values of an `enum` that a flat schema accepts.

    Raises:
        NothingFitsError: there are none.
        GrammarRefusedError: a condition beside them can't be checked.
    """
    values = [value for value in schema["enum"] if _is_accepted(value, schema)]
    if not values:
        raise NothingFitsError("no value of enum meets the other conditions")
    return values


def type_of(value: Any) -> str:
    """Return the type of a value, in JSON Schema's words; a whole number is an integer."""
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case str():
            return "string"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case list():
            return "array"
        case _:
            return "object"


def _is_accepted(value: Any, schema: Mapping[str, Any]) -> bool:
    kind = type_of(value)
    if "type" in schema:
        types = list_types(schema["type"])
        if kind not in types and not (kind == "integer" and "number" in types):
            return False
    group = "number" if kind == "integer" else kind
    for name in _UNCHECKED.get(group, ()):
        if name in schema:
            raise GrammarRefusedError(f"{name} beside enum or const can't be kept to")
    if kind == "string":
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value))
    return _is_in_range(value, schema) if group == "number" else True


def _is_in_range(value: float, schema: Mapping[str, Any]) -> bool:
    if any(isinstance(schema.get(name), bool) for name in ("exclusiveMinimum", "exclusiveMaximum")):
        raise GrammarRefusedError("exclusiveMinimum beside enum or const must be a number")
    return (
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and ("exclusiveMinimum" not in schema or value > schema["exclusiveMinimum"])
        and ("exclusiveMaximum" not in schema or value < schema["exclusiveMaximum"])
    )
