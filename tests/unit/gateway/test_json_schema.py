"""A schema is refused for what is wrong with it, in bounded time, and nothing is fetched for it."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.json_schema import (
    MAX_SCHEMA_DEPTH,
    MAX_SCHEMA_VALUES,
    check_arguments_schema,
    check_json_schema,
)

DRAFT_7 = "http://json-schema.org/draft-07/schema#"


def nest(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"not": schema}
    return schema


GOOD: list[dict[str, Any]] = [
    {},
    {"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"]},
    {"$schema": DRAFT_7, "definitions": {"a": {"type": "string"}}, "properties": {"b": {"$ref": "#/definitions/a"}}},
    {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"},
    {"type": "object", "properties": {"$ref": {"type": "string"}}},
    {"enum": [], "format": "unknown", "x-own": {"type": "anything"}},
    {"pattern": r"^[^\n]{1,2000}$"},
    nest(MAX_SCHEMA_DEPTH),
]


@pytest.mark.parametrize("schema", GOOD)
def test_what_is_a_schema(schema: dict[str, Any]) -> None:
    check_json_schema(schema, param="p")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"type": "objct"}, "at 'type'"),
    ({"properties": {"a": {"required": "b"}}}, "at 'properties/a/required'"),
    ({"pattern": "("}, "regular expression at 'pattern'"),
    ({"pattern": "((a{100}){100}){100}"}, "regular expression at 'pattern'"),
    ({"patternProperties": {"(": {}}}, "regular expression"),
    ({"$ref": "http://127.0.0.1:9/x"}, r"'\$ref' and '\$schema'"),
    ({"$ref": "file:///etc/passwd"}, r"'\$ref' and '\$schema'"),
    ({"items": {"$ref": "other.json"}}, r"'\$ref' and '\$schema'"),
    ({"$schema": "http://example.com/own"}, r"'\$ref' and '\$schema'"),
    ({"$ref": "#/$defs/none"}, "leads nowhere"),
    (nest(MAX_SCHEMA_DEPTH + 1), "levels deep"),
    ({"enum": [0] * MAX_SCHEMA_VALUES}, "values"),
]


@pytest.mark.parametrize(("schema", "message"), BAD)
def test_what_is_none(schema: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestRefusedError, match=message) as raised:
        check_json_schema(schema, param="p.schema")
    assert (raised.value.param, raised.value.reason) == ("p.schema", "invalid_value")


def test_many_large_patterns_share_one_allowance() -> None:
    schema = {"properties": {str(i): {"pattern": rf"(?=x)\p{{L}}{{99}}{i}"} for i in range(1000)}}
    began = time.process_time()
    with pytest.raises(RequestRefusedError, match="too large"):
        check_json_schema(schema, param="p")
    assert time.process_time() - began < 1


def test_arguments_are_an_object() -> None:
    good: list[dict[str, Any]] = [
        {},
        {"type": "object"},
        {"type": ["object"]},
        {"$ref": "#/$defs/a", "$defs": {"a": {}}},
    ]
    for schema in good:
        check_arguments_schema(schema, param="p")
    with pytest.raises(RequestRefusedError, match="an object"):
        check_arguments_schema({"type": "string"}, param="p")


KEYS = st.sampled_from(
    ["type", "properties", "$ref", "$id", "$schema", "$defs", "pattern", "items", "enum", "anyOf", "a"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(KEYS, JSON, max_size=4))
def test_any_object_is_accepted_or_refused(schema: dict[str, Any]) -> None:
    try:
        check_json_schema(schema, param="p")
    except RequestRefusedError as error:
        assert error.param == "p"  # noqa: PT017 - the other outcome is fine too
