"""A made value is one that the schema accepts, by the judgement of a library that knows all of JSON Schema."""

import re
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.worker.engines.scripted.instance import UnknownSchemaError, is_instance, make_instance
from headrace.worker.engines.scripted.match import make_match

Schema = dict[str, Any]

PERSON: Schema = {
    "$defs": {"name": {"type": "string", "minLength": 2, "maxLength": 3}, "age": {"type": "integer", "minimum": 18}},
    "type": "object",
    "properties": {
        "name": {"$ref": "#/$defs/name"},
        "age": {"$ref": "#/$defs/age"},
        "mood": {"enum": ["good", "bad"]},
        "tags": {"type": "array", "items": {"type": "string"}, "minItems": 2},
        "id": {"type": "string", "pattern": "^[A-Z]{2}\\d{3}-\\w+$"},
        "score": {"type": "number", "exclusiveMinimum": 0, "maximum": 0.5},
        "even": {"type": "integer", "exclusiveMinimum": 4, "multipleOf": 2},
        "cold": {"type": "number", "maximum": -1.5},
        "either": {"anyOf": [{"type": "null"}, {"type": "string"}]},
        "both": {"allOf": [{"type": "integer"}, {"minimum": 3}]},
        "pair": {"type": "array", "prefixItems": [{"const": "x"}, {"type": "boolean"}], "minItems": 3, "items": {}},
        "maybe": {"type": ["string", "null"]},
    },
    "additionalProperties": False,
}
PERSON["required"] = list(PERSON["properties"])


def test_a_rich_schema_has_a_small_instance() -> None:
    made = make_instance(PERSON)
    jsonschema_rs.validate(PERSON, made)
    assert made["name"] == "xx"
    assert made["age"] == 18


_bounds = st.integers(-5, 5) | st.floats(-5, 5, allow_nan=False).map(lambda number: round(number, 2))
_numbers = st.fixed_dictionaries(
    {"type": st.sampled_from(["integer", "number"])},
    optional={
        "minimum": _bounds,
        "maximum": _bounds,
        "exclusiveMinimum": _bounds,
        "exclusiveMaximum": _bounds,
        "multipleOf": st.integers(1, 4),
    },
)
_strings = st.fixed_dictionaries(
    {"type": st.just("string")}, optional={"minLength": st.integers(0, 3), "maxLength": st.integers(3, 4)}
)
_FIXED: list[Any] = [{"type": "boolean"}, {"type": "null"}, {"enum": [1, "a", None]}, {"const": {"a": []}}, {}, True]
_leaves: st.SearchStrategy[Any] = st.one_of(_numbers, _strings, st.sampled_from(_FIXED))


def _branches(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from("abc")
    return st.one_of(
        st.fixed_dictionaries(
            {"type": st.just("object"), "properties": st.dictionaries(names, inner, max_size=3)},
            optional={"required": st.lists(names, unique=True), "additionalProperties": st.booleans()},
        ),
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional={"minItems": st.integers(0, 2)}),
        st.lists(inner, min_size=1, max_size=2).map(lambda parts: {"anyOf": parts}),
    )


_schemas = st.recursive(_leaves, _branches, max_leaves=6).filter(lambda schema: schema is not True)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-6, 6) | st.sampled_from([0.5, -1.25]) | st.text("abx", max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
    max_leaves=5,
)


@given(_schemas)
def test_what_is_made_is_accepted(schema: Schema) -> None:
    try:
        made = make_instance(schema)
    except UnknownSchemaError:
        return
    jsonschema_rs.validate(schema, made)
    assert is_instance(made, schema)


@given(_schemas, _values)
def test_what_is_accepted_here_is_accepted_there(schema: Schema, value: Any) -> None:
    assert is_instance(value, schema) == jsonschema_rs.is_valid(schema, value)


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "object", "patternProperties": {"a": {}}}, "patternProperties"),
        ({"$ref": "https://elsewhere/a.json"}, "another document"),
        ({"$ref": "#/$defs/none"}, "nowhere"),
        ({"$ref": "#"}, "themselves"),
        ({"type": "array", "minItems": 10**9}, "1000"),
        ({"type": "string", "minLength": 10**9}, "1000"),
        ({"type": "string", "pattern": "(a|b)"}, "pattern"),
        ({"type": "spirit"}, "spirit"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "number"),
        ({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}}, "never ends"),
    ],
)
def test_what_can_not_be_made_is_said(schema: Schema, word: str) -> None:
    with pytest.raises(UnknownSchemaError, match=re.escape(word)):
        make_instance(schema)


def test_a_broken_schema_accepts_nothing_and_breaks_nothing() -> None:
    for schema in msgspec.json.decode(b'[{"type": 3}, {"required": 4}, {"properties": []}, {"minimum": "x"}]'):
        assert not is_instance({"a": 1}, schema) or jsonschema_rs.is_valid({}, {"a": 1})


@pytest.mark.parametrize(
    ("pattern", "made"),
    [
        (r"\d{4}-\d{2}-\d{2}", "0000-00-00"),
        (r"^yes$", "yes"),
        (r"[A-Z]{2,5}\w+[xyz]?\.[\d]*", "AAa."),
        (r"\w+@\w+\.com\n", "a@a.com\n"),
        ("", ""),
        (".{3}", "xxx"),
    ],
)
def test_a_simple_expression_is_matched(pattern: str, made: str) -> None:
    assert make_match(pattern) == made
    assert re.fullmatch(pattern, made)


@pytest.mark.parametrize("pattern", ["(a)", "a|b", "[^a]", r"\b", "a**", "a{", "[", "a{9999}", r"\p{L}", "(?i)a"])
def test_another_expression_is_not_guessed_at(pattern: str) -> None:
    assert make_match(pattern) is None


@given(
    st.lists(st.sampled_from(["a", r"\d", "[b-d]", r"\.", ".", r"[\w]"])), st.sampled_from(["", "+", "*", "{2}", "?"])
)
def test_what_is_made_matches(pieces: list[str], count: str) -> None:
    pattern = "".join(piece + count for piece in pieces)
    made = make_match(pattern)
    assert made is not None
    assert re.fullmatch(pattern, made)
