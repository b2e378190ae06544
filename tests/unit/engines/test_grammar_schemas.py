"""JSON Schema as grammars: what they allow, the schema accepts. The oracle is a validator of JSON Schema."""

import random
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.worker.engines.vllm.grammar.ebnf import Rules
from headrace.worker.engines.vllm.grammar.json_schema import write_json_schema
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError
from tests.unit.engines.grammar_walks import accepts, walk

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning"),
]

NODE = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["v", "next"],
    "additionalProperties": False,
}
CAT = {"type": "object", "properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}}
DOG = {"type": "object", "properties": {"kind": {"const": "dog"}, "barks": {"type": "boolean"}}}
SCHEMAS: dict[str, dict[str, Any]] = {
    "anything": {},
    "notes only": {"title": "T", "description": "D", "default": 3, "x-ours": 1},
    "lengths": {"type": "string", "minLength": 2, "maxLength": 4},
    "pattern": {"type": "string", "pattern": "^[a-z]{2}-\\d+$"},
    "pattern to be quoted": {"type": "string", "pattern": '^"\\\\\\n$'},
    "pattern made shorter": {"type": "string", "pattern": "^[a-z]+@[a-z]+$", "maxLength": 7},
    "integers": {"type": "integer", "minimum": -12, "exclusiveMaximum": 345},
    "numbers": {"type": "number", "exclusiveMinimum": 0.5, "maximum": 1.25},
    "draft 4 bounds": {"type": "integer", "minimum": 5, "maximum": 9},
    "multiples": {"type": "integer", "multipleOf": 7},
    "bounded multiples": {"type": "integer", "multipleOf": 5, "minimum": 3, "maximum": 27},
    "counts": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3},
    "tuple": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2},
    "set": {"type": "array", "items": {"enum": ["a", "b", 3]}, "uniqueItems": True, "minItems": 1},
    "optional properties": {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "boolean"}}},
    "required but undeclared": {"type": "object", "required": ["z"], "properties": {"a": {"type": "null"}}},
    "dependent": {"properties": {"a": {}, "b": {"type": "null"}}, "dependentRequired": {"a": ["b"]}},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 2},
    "map beside": {"properties": {"ab": {"type": "null"}}, "additionalProperties": {"type": "integer"}},
    "named keys": {"type": "object", "propertyNames": {"enum": ["x", "y"]}, "additionalProperties": {"type": "null"}},
    "keys by pattern": {"type": "object", "patternProperties": {"^k[0-9]$": {"type": "integer"}}},
    "types": {"type": ["string", "null", "integer"], "maxLength": 2, "minimum": 3},
    "guessed type": {"minimum": 5},
    "enum": {"enum": [{"a": 1}, [1, 2], None, True, 1.5, 'x"y\n', "é日本"]},
    "enum by type": {"type": "integer", "enum": [1, "a", 2]},
    "union beside": {"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": -5}]},
    "union of needs": {
        "type": "object",
        "properties": {"a": {"type": "null"}, "b": {"type": "null"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
    "all of": {
        "allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"minProperties": 1}]
    },
    "all of beside": {"properties": {"a": {"minimum": 3}}, "allOf": [{"properties": {"a": {"type": "integer"}}}]},
    "reference beside": {"$defs": {"x": {"type": "integer"}}, "$ref": "#/$defs/x", "minimum": 5},
    "recursion": {"$defs": {"node": NODE}, "$ref": "#/$defs/node"},
    "told apart": {"oneOf": [CAT, DOG]},
    "one of types": {"oneOf": [{"type": "integer"}, {"type": "string", "maxLength": 3}]},
    "odd names": {"properties": {'日本"\n': {"type": "null"}}, "required": ['日本"\n']},
}


def write(schema: dict[str, Any]) -> str:
    rules = Rules()
    return rules.write(write_json_schema(rules, schema))


def check(schema: dict[str, Any], text: str) -> None:
    value = msgspec.json.decode(text)
    assert jsonschema_rs.validator_for(schema).is_valid(value), f"{text} does not meet {schema}"


@pytest.mark.parametrize("name", SCHEMAS)
def test_what_is_written_the_schema_accepts(name: str) -> None:
    grammar = write(SCHEMAS[name])
    texts = [text for seed in range(25) if (text := walk(grammar, seed=seed)) is not None]
    assert texts
    for text in texts:
        check(SCHEMAS[name], text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("optional properties", "{}"),
        ("optional properties", '{"b": true}'),
        ("optional properties", '{\n  "a": null,\n  "b": false\n}'),
        ("lengths", '"日本語"'),
        ("integers", "-12"),
        ("integers", "344"),
        ("numbers", "1.25"),
        ("recursion", '{"v": 1, "next": {"v": 2, "next": null}}'),
        ("set", '["a", 3]'),
        ("map", '{"anything": 4}'),
        ("told apart", '{"kind": "dog", "barks": true}'),
        ("anything", '{"a": [1, 2.5e3, {"b": "\\u00e9\\n"}], "c": null}'),
    ],
)
def test_what_a_model_would_write_is_allowed(name: str, text: str) -> None:
    assert accepts(write(SCHEMAS[name]), text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("lengths", '"\x01\x01"'),
        ("lengths", '"abcde"'),
        ("integers", "345"),
        ("integers", "-0"),
        ("numbers", "0.5"),
        ("map beside", '{"ab": 3}'),
        ("anything", '"\\ud800"'),
        ("anything", '{"a" : 1}' + " " * 40),
    ],
)
def test_what_is_wrong_is_not(name: str, text: str) -> None:
    assert not accepts(write(SCHEMAS[name]), text)


@pytest.mark.parametrize(
    ("schema", "reason", "place"),
    [
        ({"not": {"type": "string"}}, "not can't be kept to", ""),
        ({"properties": {"a": {"items": {"contains": {}}}}}, "contains can't be kept to", "properties.a.items"),
        ({"if": {}, "then": {}}, "if can't be kept to", ""),
        ({"type": "array", "uniqueItems": True}, "uniqueItems can be kept to only", ""),
        ({"anyOf": [{"type": "number", "multipleOf": 0.01}]}, "multipleOf must be a whole number", "anyOf[0]"),
        ({"unevaluatedItems": False}, "unevaluatedItems can't be kept to", ""),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "oneOf has branches that a value may meet two of", ""),
        ({"properties": {"a": {}}, "patternProperties": {"b": {}}}, "patternProperties can be kept to only alone", ""),
        ({"type": "string", "pattern": "a(?=b)"}, "looks around itself", ""),
        ({"type": "string", "pattern": "^a$", "minLength": 3}, "minLength can't be kept to", ""),
        ({"$ref": "https://example.com/x"}, "$ref can only point into the schema itself", ""),
        ({"$ref": "#/$defs/none"}, "$ref points to nothing", ""),
        ({"$defs": {"a": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"}, "$ref leads back to itself", ""),
        ({"type": "date"}, "type is none of JSON Schema's", ""),
        ({"minLength": "x"}, "minLength must be a whole number", ""),
        ({"properties": 3}, "properties must be schemas by name", ""),
        ({"type": "integer", "minimum": 5, "maximum": 3}, "no number lies between", ""),
        ({"properties": {"a": False}, "required": ["a"]}, "false accepts no value", "properties.a"),
        ({"enum": []}, "no value of enum", ""),
        ({"minItems": 1000}, "minItems is above", ""),
        ({"type": "object", "minProperties": 2}, "minProperties can't be kept to", ""),
        ({"enum": ["a"], "pattern": "b"}, "pattern beside enum", ""),
    ],
)
def test_what_can_not_be_kept_to_is_refused_by_name_and_place(schema: dict[str, Any], reason: str, place: str) -> None:
    with pytest.raises(GrammarRefusedError) as caught:
        write(schema)
    assert reason in caught.value.reason
    assert caught.value.place == place


def _deep(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


@pytest.mark.parametrize(
    "schema",
    [
        _deep(300),
        {"properties": {f"p{i}": {"enum": list(range(50))} for i in range(2000)}},
        {"allOf": [{"anyOf": [{"minimum": i} for i in range(100)]} for _ in range(4)]},
        {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}, {"type": "object"}]}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"type": "object", "allOf": [{"properties": {"x": {"$ref": "#"}}}]}}, "$ref": "#/$defs/a"},
    ],
)
def test_what_would_never_end_does(schema: dict[str, Any]) -> None:
    try:
        grammar = write(schema)
    except GrammarRefusedError:
        return
    assert len(grammar) < 500_000


def _integer(low: int, size: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "maximum": low + size}


def _number(low: float) -> dict[str, Any]:
    return {"type": "number", "exclusiveMinimum": round(low, 3)}


def _string(least: int, more: int) -> dict[str, Any]:
    return {"type": "string", "minLength": least, "maxLength": least + more}


def _array(items: dict[str, Any], least: int) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": least}


def _object(properties: dict[str, Any], others: Any) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": sorted(properties)[:1]}
    return schema if others is None else schema | {"additionalProperties": others}


def _combined(word: str, branches: list[dict[str, Any]]) -> dict[str, Any]:
    return {word: branches}


LEAVES = st.one_of(
    st.builds(_integer, st.integers(-99, 99), st.integers(0, 999)),
    st.builds(_number, st.floats(-9, 9)),
    st.builds(_string, st.integers(0, 3), st.integers(0, 5)),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"const": 'é"\\'},
            {"enum": [1, "a", None, [2]]},
            {"type": "string", "format": "date"},
        ]
    ),
)
NAMES = st.sampled_from(["a", "ab", "abc", "é", "x y", 'q"'])


def _branches(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    properties = st.dictionaries(NAMES, inner, max_size=3)
    return st.one_of(
        st.builds(_array, inner, st.integers(0, 2)),
        st.builds(_object, properties, st.one_of(st.sampled_from([None, True, False]), inner)),
        st.builds(_combined, st.sampled_from(["anyOf", "allOf", "oneOf"]), st.lists(inner, min_size=1, max_size=3)),
    )


@settings(max_examples=60)
@given(schema=st.recursive(LEAVES, _branches, max_leaves=6), seed=st.integers(0, 2**16))
def test_whatever_the_schema_what_is_written_meets_it(schema: dict[str, Any], seed: int) -> None:
    try:
        grammar = write(schema)
    except GrammarRefusedError:
        return
    for step in range(3):
        if (text := walk(grammar, seed=seed + step)) is not None:
            check(schema, text)


@given(low=st.integers(-5000, 5000), size=st.integers(0, 3000), data=st.data())
@settings(max_examples=60)
def test_a_range_of_integers_is_exactly_that(low: int, size: int, data: st.DataObject) -> None:
    grammar = write({"type": "integer", "minimum": low, "maximum": low + size})
    for number in (low, low + size, data.draw(st.integers(low, low + size))):
        assert accepts(grammar, str(number))
    for number in (low - 1, low + size + 1, low - 1000, low + size + 4321):
        assert not accepts(grammar, str(number))


def test_walks_find_their_end() -> None:
    chance = random.Random(1)  # noqa: S311 - no secret
    assert any(walk(write({}), seed=chance.randrange(1000)) for _ in range(5))
