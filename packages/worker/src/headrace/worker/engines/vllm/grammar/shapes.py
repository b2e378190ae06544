"""What the values of JSON Schema's keywords must look like."""

from collections.abc import Callable, Mapping
from typing import Any

from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError


def _is_count(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 and value == int(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_bound(value: Any) -> bool:
    return _is_number(value) or isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)  # pyright: ignore[reportUnknownVariableType]


def _is_schemas_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_schema(item) for item in value.values())  # pyright: ignore[reportUnknownVariableType]


def _is_texts_by_name(value: Any) -> bool:
    return isinstance(value, dict) and all(_is_texts(item) for item in value.values())  # pyright: ignore[reportUnknownVariableType]


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_switch(value: Any) -> bool:
    return isinstance(value, bool)


_SHAPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"),
        (_is_count, "a whole number of at least 0"),
    ),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), (_is_number, "a number")),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum"), (_is_bound, "a number")),
    **dict.fromkeys(("pattern", "format"), (_is_text, "a text")),
    **dict.fromkeys(("properties", "patternProperties"), (_is_schemas_by_name, "schemas by name")),
    **dict.fromkeys(
        ("additionalProperties", "unevaluatedProperties", "propertyNames", "items"), (_is_schema, "a schema")
    ),
    **dict.fromkeys(("enum", "prefixItems", "anyOf", "oneOf", "allOf"), (_is_list, "a list")),
    "required": (_is_texts, "a list of names"),
    "dependentRequired": (_is_texts_by_name, "lists of names by name"),
    "uniqueItems": (_is_switch, "true or false"),
}


def check_shapes(schema: Mapping[str, Any]) -> None:
    """Check the values of the keywords that are kept to.

    Raises:
        GrammarRefusedError: one of them has a value that JSON Schema does not know.
    """
    for name, (is_right, wanted) in _SHAPES.items():
        if name in schema and not is_right(schema[name]):
            raise GrammarRefusedError(f"{name} must be {wanted}")
