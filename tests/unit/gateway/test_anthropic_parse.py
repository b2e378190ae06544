"""What becomes of each thing that a client of Anthropic's can ask for."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.dialects.anthropic.parse import AnthropicParser
from headrace.gateway.dialects.anthropic.wire import IGNORED_FIELDS, UNSUPPORTED_FIELDS, MessagesBody
from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.formats import JsonSchemaFormat, TextFormat
from headrace.schema.messages import (
    ImagePart,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags
from headrace.schema.tools import Tool, ToolChoice

PARSER = AnthropicParser()
BODY: dict[str, Any] = {"model": "demo", "max_tokens": 4096, "messages": [{"role": "user", "content": "Hi"}]}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL: dict[str, Any] = {"name": "weather", "description": "tells it", "input_schema": SCHEMA}
CALL: dict[str, Any] = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Köln"}}
RESULT: dict[str, Any] = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}
PNG: dict[str, Any] = {"type": "base64", "media_type": "image/png", "data": "aGk="}


def parse(**fields: Any) -> ChatCompletionRequest:
    return PARSER.parse(msgspec.json.encode(BODY | fields)).request


def talk(*messages: tuple[str, Any]) -> tuple[Message, ...]:
    return parse(messages=[{"role": role, "content": content} for role, content in messages]).messages


def refused(**fields: Any) -> HeadraceError:
    with pytest.raises(HeadraceError) as raised:
        parse(**fields)
    assert raised.value.answer.status == 400
    return raised.value


def refused_talk(*messages: tuple[str, Any]) -> str | None:
    return refused(messages=[{"role": role, "content": content} for role, content in messages]).param


def test_the_least_that_can_be_asked_for() -> None:
    assert parse() == ChatCompletionRequest(
        model="demo",
        messages=(Message("user", "Hi"),),
        generation_parameters=GenerationParameters(max_tokens=4096),
        output=OutputFlags(usage=True, signatures=True),
    )


def test_parameters() -> None:
    request = parse(stop_sequences=["END"], temperature=1, top_k=5, top_p=0.5)
    assert request.generation_parameters == GenerationParameters(
        max_tokens=4096, stop=("END",), temperature=1.0, top_k=5, top_p=0.5
    )


@pytest.mark.parametrize("stream", [True, False, None])
def test_streaming(stream: bool | None) -> None:
    assert PARSER.parse(msgspec.json.encode(BODY | {"stream": stream})).stream is (stream is True)


def test_null_is_the_same_as_leaving_out() -> None:
    optional = ["stop_sequences", "temperature", "top_k", "top_p", "system", "tools", "tool_choice", "thinking"]
    optional += ["output_config", "output_format", *IGNORED_FIELDS, *UNSUPPORTED_FIELDS]
    assert parse(**dict.fromkeys(optional)) == parse()


@pytest.mark.parametrize("system", ["Be brief", [{"type": "text", "text": "Be brief", "cache_control": {"ttl": "1h"}}]])
def test_system(system: Any) -> None:
    first, second = parse(system=system).messages
    assert (first.role, first.to_text(), second.role) == ("system", "Be brief", "user")


def test_the_system_may_speak_among_the_messages() -> None:
    assert [message.role for message in talk(("user", "a"), ("system", "b"))] == ["user", "system"]


def test_parts_of_a_user() -> None:
    content = [
        {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}, "citations": None},
        {"type": "image", "source": PNG},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
    ]
    assert talk(("user", content)) == (
        Message(
            "user",
            (
                TextPart("What is this?"),
                ImagePart(url="data:image/png;base64,aGk="),
                ImagePart(url="https://example.com/a.png"),
            ),
        ),
    )


def test_a_call_and_its_result() -> None:
    thoughts = [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "x"},
        {"type": "text", "text": "Let me look"},
        CALL | {"caller": {"type": "direct"}},
    ]
    result = [
        RESULT | {"is_error": True, "content": [{"type": "text", "text": "rain"}, {"type": "image", "source": PNG}]}
    ]
    assert talk(
        ("user", "Weather?"), ("assistant", thoughts), ("user", [*result, {"type": "text", "text": "So?"}])
    ) == (
        Message("user", "Weather?"),
        Message(
            "assistant",
            (
                ReasoningPart("hm", "s", "anthropic"),
                ReasoningPart("", "x", "anthropic", is_redacted=True),
                TextPart("Let me look"),
                ToolCallPart(id="call_1", name="weather", arguments='{"city":"Köln"}'),
            ),
        ),
        Message(
            "tool",
            (
                ToolResultPart(
                    tool_call_id="call_1",
                    content=(TextPart("rain"), ImagePart(url="data:image/png;base64,aGk=")),
                    is_error=True,
                ),
            ),
        ),
        Message("user", (TextPart("So?"),)),
    )


@pytest.mark.parametrize("content", ["", None, []])
def test_a_result_may_be_empty(content: Any) -> None:
    last = talk(("user", "a"), ("assistant", [CALL]), ("user", [RESULT | {"content": content}]))[-1]
    assert last == Message("tool", (ToolResultPart(tool_call_id="call_1", content=""),))


def test_an_id_of_another_api_is_kept() -> None:
    call, result = CALL | {"id": "abc"}, RESULT | {"tool_use_id": "abc"}
    *_, last = talk(("user", "a"), ("assistant", [call]), ("user", [result]))
    assert isinstance(part := last.parts[0], ToolResultPart)
    assert part.tool_call_id == "abc"


def test_results_may_come_in_several_messages() -> None:
    calls = [CALL, CALL | {"id": "toolu_2"}]
    talk(("user", "a"), ("assistant", calls), ("user", [RESULT]), ("user", [RESULT | {"tool_use_id": "toolu_2"}]))


BAD_MESSAGES: list[tuple[list[tuple[str, Any]], str]] = [
    ([("user", "")], "messages[0].content"),
    ([("user", [])], "messages[0].content"),
    ([("user", [{"type": "text", "text": ""}])], "messages[0].content[0].text"),
    ([("user", [{"text": "a"}])], "messages[0].content[0].type"),
    ([("user", [{"type": "text", "text": "a", "more": 1}])], "messages[0].content[0].more"),
    ([("user", [{"type": "hologram"}])], "messages[0].content[0].type"),
    ([("user", [{"type": "document", "source": {}}])], "messages[0].content[0].type"),
    ([("user", [{"type": "image", "source": {"type": "file", "file_id": "f"}}])], "messages[0].content[0].source.type"),
    ([("user", [{"type": "thinking", "thinking": "a", "signature": ""}])], "messages[0].content[0]"),
    ([("robot", "a")], "messages[0].role"),
    ([("user", "a"), ("assistant", [{"type": "image", "source": PNG}])], "messages[1].content[0]"),
    ([("user", [RESULT])], "messages[0].content[0].tool_use_id"),
    ([("user", "a"), ("assistant", [CALL])], "messages[1].content[0]"),
    ([("user", "a"), ("assistant", [CALL]), ("user", "b")], "messages[1].content[0]"),
    (
        [("user", "a"), ("assistant", [CALL]), ("user", [{"type": "text", "text": "b"}, RESULT])],
        "messages[2].content[1]",
    ),
    (
        [("user", "a"), ("assistant", [CALL]), ("user", [RESULT | {"content": [{"type": "search_result"}]}])],
        "messages[2].content[0].content[0].type",
    ),
    (
        [("user", "a"), ("assistant", [CALL]), ("user", [RESULT]), ("assistant", "b"), ("user", [RESULT])],
        "messages[4].content[0].tool_use_id",
    ),
    ([("user", "a"), ("assistant", "b ")], "messages[1].content"),
    ([("user", "a"), ("assistant", [])], "messages[1].content"),
]


@pytest.mark.parametrize(("messages", "param"), BAD_MESSAGES)
def test_messages_that_are_refused(messages: list[tuple[str, Any]], param: str) -> None:
    assert refused_talk(*messages) == param


def test_citations_are_taken_back_and_not_taken() -> None:
    block = {"type": "text", "text": "a", "citations": [{"type": "char_location"}]}
    assert talk(("assistant", [block]), ("user", "b"))[0].to_text() == "a"
    assert refused_talk(("user", [block])) == "messages[0].content[0].citations"


@pytest.mark.parametrize("content", ["The answer is (", [{"type": "text", "text": "The answer is ("}]])
def test_an_answer_that_is_begun_is_continued(content: Any) -> None:
    request = parse(messages=[{"role": "user", "content": "a"}, {"role": "assistant", "content": content}])
    assert request.generation_parameters.provider_extensions == {
        "vllm": {"chat_template_kwargs": {"continue_final_message": True, "add_generation_prompt": False}}
    }


def test_tools() -> None:
    request = parse(tools=[TOOL | {"type": "custom", "cache_control": {}, "strict": True, "defer_loading": False}])
    assert request.tools == (Tool(name="weather", description="tells it", parameters=SCHEMA, strict=True),)
    assert request.tool_choice == ToolChoice()


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({"type": "auto"}, ToolChoice()),
        ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(parallel=False)),
        ({"type": "any", "disable_parallel_tool_use": False}, ToolChoice(mode="required")),
        ({"type": "tool", "name": "weather"}, ToolChoice(mode="required", names=("weather",), parallel=False)),
        (
            {"type": "tool", "name": "weather", "disable_parallel_tool_use": False},
            ToolChoice(mode="required", names=("weather",)),
        ),
        ({"type": "none"}, ToolChoice(mode="none")),
    ],
)
def test_tool_choice(choice: dict[str, Any], expected: ToolChoice) -> None:
    assert parse(tools=[TOOL], tool_choice=choice).tool_choice == expected


BAD_TOOLS: list[tuple[dict[str, Any], str]] = [
    ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
    ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools[0].type"),
    ({"tools": [TOOL | {"name": "no spaces"}]}, "tools[0].name"),
    ({"tools": [{"name": "a"}]}, "tools[0].input_schema"),
    ({"tools": [TOOL | {"input_schema": {}}]}, "tools[0].input_schema.type"),
    ({"tools": [TOOL | {"input_schema": {"type": "object", "properties": 1}}]}, "tools[0].input_schema"),
    ({"tools": [TOOL | {"defer_loading": True}]}, "tools[0].defer_loading"),
    ({"tools": [TOOL | {"allowed_callers": ["code_execution_20260120"]}]}, "tools[0].allowed_callers[0]"),
    ({"tools": [TOOL, TOOL]}, "tools[1].name"),
    ({"tool_choice": {"type": "any"}}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool", "name": "other"}}, "tool_choice.names[0]"),
    ({"tools": [TOOL], "tool_choice": {"type": "tool"}}, "tool_choice.name"),
    (
        {"tools": [TOOL], "tool_choice": {"type": "none", "disable_parallel_tool_use": True}},
        "tool_choice.disable_parallel_tool_use",
    ),
]


@pytest.mark.parametrize(("fields", "param"), BAD_TOOLS)
def test_tools_that_are_refused(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize(
    ("thinking", "asked"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, True),
        ({"type": "enabled", "budget_tokens": 4095, "display": "summarized"}, True),
        ({"type": "adaptive"}, True),
        ({"type": "adaptive", "display": "omitted"}, True),
        ({"type": "disabled"}, False),
    ],
)
def test_thinking(thinking: dict[str, Any], asked: bool) -> None:
    assert parse(thinking=thinking).output.reasoning is asked


@pytest.mark.parametrize(
    ("thinking", "param"),
    [
        ({"type": "enabled"}, "thinking.budget_tokens"),
        ({"type": "enabled", "budget_tokens": 1023}, "thinking.budget_tokens"),
        ({"type": "enabled", "budget_tokens": 4096}, "thinking.budget_tokens"),
        ({"type": "between_tools"}, "thinking.type"),
        ({"type": "adaptive", "display": "all"}, "thinking.display"),
    ],
)
def test_thinking_that_is_refused(thinking: dict[str, Any], param: str) -> None:
    assert refused(thinking=thinking).param == param


FORMAT: dict[str, Any] = {"type": "json_schema", "schema": SCHEMA}


@pytest.mark.parametrize("fields", [{"output_config": {"format": FORMAT, "effort": "low"}}, {"output_format": FORMAT}])
def test_json(fields: dict[str, Any]) -> None:
    assert parse(**fields).response_format == JsonSchemaFormat(schema=SCHEMA)
    forced = parse(tools=[TOOL], tool_choice={"type": "any"}, **fields)
    assert forced.response_format == TextFormat()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
        ({"output_config": {"format": {"type": "json_schema", "schema": {"type": 1}}}}, "output_config.format.schema"),
        ({"output_config": {"effort": "none"}}, "output_config.effort"),
        ({"output_config": {"format": FORMAT}, "output_format": FORMAT}, "output_format"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": 1.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_k": -1}, "top_k"),
        ({"stop_sequences": "END"}, "stop_sequences"),
        ({"stop_sequences": [""]}, "stop_sequences[0]"),
        ({"messages": []}, "messages"),
        ({"model": ""}, "model"),
        ({"n": 2}, "n"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
    ],
)
def test_fields_that_are_refused(fields: dict[str, Any], param: str) -> None:
    assert refused(**fields).param == param


@pytest.mark.parametrize("name", ["model", "messages", "max_tokens"])
def test_what_must_be_there(name: str) -> None:
    body = {key: value for key, value in BODY.items() if key != name}
    with pytest.raises(RequestRefusedError) as raised:
        PARSER.parse(msgspec.json.encode(body))
    assert (raised.value.param, raised.value.reason) == (name, "missing_required_parameter")


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_FIELDS))
def test_what_is_not_supported_is_refused_by_its_name(name: str) -> None:
    error = refused(**{name: {"more": 1}})
    assert (error.param, error.code) == (name, ErrorCode.UNSUPPORTED_PARAMETER)
    for harmless in UNSUPPORTED_FIELDS[name]:
        assert parse(**{name: harmless}) == parse()


@pytest.mark.parametrize("name", sorted(IGNORED_FIELDS))
def test_what_changes_nothing_is_ignored(name: str) -> None:
    assert parse(**{name: {"user_id": "me"}}) == parse()


def test_a_count_asks_for_no_answer() -> None:
    body = {key: value for key, value in BODY.items() if key != "max_tokens"} | {"tools": [TOOL], "system": "a"}
    request = PARSER.parse_count(msgspec.json.encode(body)).request
    assert request.count_only
    assert (request.tools[0].name, len(request.messages)) == ("weather", 2)
    with pytest.raises(RequestRefusedError, match="max_tokens"):
        PARSER.parse_count(msgspec.json.encode(BODY))


WORDS = st.sampled_from(
    ["user", "assistant", "system", "text", "image", "tool_use", "tool_result", "thinking", "document", "base64", "url"]
) | st.sampled_from(
    ["custom", "auto", "any", "tool", "none", "enabled", "adaptive", "json_schema", "object", "toolu_1", "a"]
)
KEYS = st.sampled_from(
    ["type", "role", "content", "text", "source", "data", "media_type", "url", "id", "name", "input"]
) | st.sampled_from(
    [
        "tool_use_id",
        "thinking",
        "signature",
        "is_error",
        "input_schema",
        "budget_tokens",
        "format",
        "schema",
        "citations",
        "$ref",
    ]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)
FIELDS = st.sampled_from([*MessagesBody.__struct_fields__, *UNSUPPORTED_FIELDS, "more"])


def status_of(parse_body: Callable[[bytes], ParsedCall], fields: dict[str, Any]) -> int:
    try:
        parse_body(msgspec.json.encode(BODY | fields))
    except HeadraceError as error:
        return error.answer.status
    return 200


@given(st.dictionaries(FIELDS, ANYTHING, max_size=6))
def test_whatever_comes_is_taken_or_refused(fields: dict[str, Any]) -> None:
    assert status_of(PARSER.parse, fields) in {200, 400}
    assert status_of(PARSER.parse_count, fields) == 400  # it has no `max_tokens`
