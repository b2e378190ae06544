"""OpenAI's tools, the choice among them, and the forms of an answer."""

from typing import Any

import pytest

from headrace.schema.formats import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
    TextFormat,
)
from headrace.schema.tools import Tool, ToolChoice
from tests.unit.gateway.openai_chat import CLOCK, LEAST, WEATHER, parse, refuse

BOTH = {"tools": [WEATHER, CLOCK]}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}
BAD_SCHEMA: dict[str, Any] = {"properties": {"a": {"type": "intger"}}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


def function(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f"} | fields}]}


def json_schema(**fields: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "n"} | fields}}


def test_tools() -> None:
    strict = WEATHER["function"] | {"strict": True, "description": "How it is"}
    assert parse({"tools": [{"type": "function", "function": strict}, CLOCK]}).tools == (
        Tool(name="get_weather", description="How it is", parameters=strict["parameters"], strict=True),
        Tool(name="get_time"),
    )


CHOICES: list[tuple[dict[str, Any], ToolChoice]] = [
    ({}, ToolChoice()),
    ({"tool_choice": "auto"}, ToolChoice()),
    ({"tool_choice": "none"}, ToolChoice(mode="none")),
    ({"tool_choice": "required", "parallel_tool_calls": False}, ToolChoice(mode="required", parallel=False)),
    ({"tool_choice": named("get_time")}, ToolChoice(mode="required", names=("get_time",), parallel=False)),
    ({"tool_choice": allowed("auto", "get_time")}, ToolChoice(names=("get_time",))),
    (
        {"tool_choice": allowed("required", "get_time", "get_weather")},
        ToolChoice(mode="required", names=("get_time", "get_weather")),
    ),
]


@pytest.mark.parametrize(("change", "expected"), CHOICES)
def test_the_choice(change: dict[str, Any], expected: ToolChoice) -> None:
    assert parse(BOTH | change).tool_choice == expected


FORMATS: list[tuple[dict[str, Any], ResponseFormat]] = [
    ({"response_format": {"type": "text"}}, TextFormat()),
    ({"response_format": {"type": "json_object"}}, JsonObjectFormat()),
    (
        json_schema(schema=SCHEMA, strict=True, description="d"),
        JsonSchemaFormat(schema=SCHEMA, name="n", description="d"),
    ),
    (json_schema(), JsonObjectFormat()),
    ({"structured_outputs": {"json": SCHEMA}}, JsonSchemaFormat(schema=SCHEMA)),
    ({"structured_outputs": {"json": "{}"}}, JsonSchemaFormat(schema={})),
    ({"structured_outputs": {"json_object": True}}, JsonObjectFormat()),
    ({"structured_outputs": {"regex": "a+", "json_object": False}}, RegexFormat("a+")),
    ({"structured_outputs": {"choice": ["a", "b"]}}, ChoiceFormat(("a", "b"))),
    ({"structured_outputs": {"grammar": "root ::= 'a'"}}, GrammarFormat("root ::= 'a'")),
    ({"guided_json": SCHEMA}, JsonSchemaFormat(schema=SCHEMA)),
    ({"guided_regex": "a+"}, RegexFormat("a+")),
    ({"guided_choice": ["a"], "response_format": {"type": "text"}}, ChoiceFormat(("a",))),
    ({"guided_grammar": "root ::= 'a'"}, GrammarFormat("root ::= 'a'")),
    # An answer that must be a call has no text for the format to be of.
    (BOTH | {"tool_choice": "required", "response_format": {"type": "json_object"}}, TextFormat()),
    (BOTH | {"response_format": {"type": "json_object"}}, JsonObjectFormat()),
]


@pytest.mark.parametrize(("change", "expected"), FORMATS)
def test_formats(change: dict[str, Any], expected: ResponseFormat) -> None:
    assert parse(change).response_format == expected


PARAMETERS = "tools[0].function.parameters"
SCHEMA_FIELD = "response_format.json_schema.schema"
ALLOWED = "tool_choice.allowed_tools"
WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    ({"tools": []}, "tools", "empty_array"),
    ({"tools": [CLOCK] * 129}, "tools", "array_above_max_length"),
    ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", "unsupported_value"),
    ({"tools": [{"type": "function"}]}, "tools[0].function", "invalid_type"),
    ({"tools": [CLOCK, CLOCK]}, "tools[1].name", None),
    (function(name=""), "tools[0].function.name", "invalid_value"),
    (function(name="a b"), "tools[0].function.name", "invalid_value"),
    (function(name="a" * 65), "tools[0].function.name", "invalid_value"),
    (function(parameters=[]), PARAMETERS, "invalid_type"),
    (function(parameters=BAD_SCHEMA), PARAMETERS, "invalid_value"),
    (function(parameters={"type": "string"}), PARAMETERS, "invalid_value"),
    (function(parameters={"$ref": "https://example.com/a"}), PARAMETERS, "invalid_value"),
    (function(extra=1), "tools[0].function.extra", "unknown_parameter"),
    ({"functions": [{"name": "f"}], "tools": [CLOCK]}, "functions", None),
    ({"tool_choice": "auto"}, "tool_choice", "invalid_value"),
    ({"parallel_tool_calls": True}, "parallel_tool_calls", "invalid_value"),
    (BOTH | {"tool_choice": "any"}, "tool_choice", "unsupported_value"),
    (BOTH | {"tool_choice": 1}, "tool_choice", "invalid_type"),
    (BOTH | {"tool_choice": {"type": "custom", "custom": {}}}, "tool_choice.type", "unsupported_value"),
    (BOTH | {"tool_choice": {"type": "function"}}, "tool_choice.function", "invalid_type"),
    (BOTH | {"tool_choice": named("f")}, "tool_choice", "invalid_value"),
    (BOTH | {"tool_choice": {"type": "allowed_tools"}}, ALLOWED, "invalid_type"),
    (BOTH | {"tool_choice": allowed("auto")}, f"{ALLOWED}.tools", "empty_array"),
    (BOTH | {"tool_choice": allowed("none", "get_time")}, f"{ALLOWED}.mode", "invalid_value"),
    (BOTH | {"tool_choice": allowed("auto", "f")}, "tool_choice", "invalid_value"),
    ({"response_format": {"type": "xml"}}, "response_format.type", "unsupported_value"),
    ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "invalid_type"),
    (json_schema(name="a b"), "response_format.json_schema.name", "invalid_value"),
    (json_schema(schema="{}"), SCHEMA_FIELD, "invalid_type"),
    (json_schema(schema=BAD_SCHEMA), SCHEMA_FIELD, "invalid_value"),
    ({"structured_outputs": {}}, "structured_outputs", "invalid_value"),
    ({"structured_outputs": {"regex": "a", "choice": ["b"]}}, "structured_outputs.regex", "invalid_value"),
    ({"structured_outputs": {"regex": ""}}, "structured_outputs.regex", "empty_string"),
    ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs.structural_tag", "unknown_parameter"),
    ({"guided_json": "{"}, "guided_json", "invalid_value"),
    ({"guided_json": "[]"}, "guided_json", "invalid_value"),
    ({"guided_json": BAD_SCHEMA}, "guided_json", "invalid_value"),
    ({"guided_choice": ["a", ""]}, "guided_choice", "empty_string"),
    ({"guided_choice": ["a"] * 1025}, "guided_choice", "array_above_max_length"),
    ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "response_format", "invalid_value"),
]


@pytest.mark.parametrize(("change", "param", "reason"), WRONG)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str, reason: str | None) -> None:
    failure = refuse(LEAST | change)
    assert (failure.param, failure.reason, failure.status) == (param, reason, 400)
