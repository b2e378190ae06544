"""What a body of a response asks for, and what is refused in it."""

from typing import Any

import msgspec
import pytest

from headrace.gateway.dialects.openai.responses.errors import to_error, to_field
from headrace.gateway.dialects.openai.responses.items import ConversationItem, ItemReference, MessageItem
from headrace.gateway.dialects.openai.responses.parse import BodyReader, to_request
from headrace.gateway.failure import failure_of_error
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.formats import JsonObjectFormat, JsonSchemaFormat, TextFormat
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
from tests.unit.gateway.responses_sdk import ASK

TOOL: dict[str, Any] = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
CALL: dict[str, Any] = {"type": "function_call", "call_id": "call_1", "name": "look_up", "arguments": "{}"}
RESULT: dict[str, Any] = {"type": "function_call_output", "call_id": "call_1", "output": "3"}
IMAGE: dict[str, Any] = {"type": "input_image", "image_url": "https://host/cat.png", "detail": "low"}
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}}


def parse(fields: dict[str, Any], history: tuple[ConversationItem, ...] = ()) -> ChatCompletionRequest:
    body = BodyReader().read(msgspec.json.encode(ASK | fields))
    given = (MessageItem(role="user", content=body.input),) if isinstance(body.input, str) else body.input
    items = tuple(item for item in given if not isinstance(item, ItemReference))
    return to_request(body, history=history, items=items)


def refuse(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    with pytest.raises(HeadraceError) as caught:
        parse(fields)
    assert caught.value.answer.status == 400
    error = to_error(failure_of_error(caught.value)).error
    assert error.type == "invalid_request_error"
    return error.param, error.code


def test_the_least() -> None:
    assert parse({}) == ChatCompletionRequest(
        model="demo",
        messages=(Message(role="user", content="a secret prompt"),),
        output=OutputFlags(reasoning=True, signatures=True),
    )


def test_parameters() -> None:
    fields = {
        "temperature": 0.5,
        "top_p": 0.25,
        "max_output_tokens": 7,
        "seed": 3,
        "stop": "END",
        "top_k": -1,
        "min_p": 0.125,
        "ignore_eos": True,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "repetition_penalty": 2,
        "reasoning": {"effort": "low", "summary": "auto"},
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert parse(fields).generation_parameters == GenerationParameters(
        temperature=0.5,
        top_p=0.25,
        max_tokens=7,
        seed=3,
        stop=("END",),
        top_k=0,
        min_p=0.125,
        ignore_eos=True,
        presence_penalty=1,
        frequency_penalty=-1,
        repetition_penalty=2,
        provider_extensions={"vllm": {"chat_template_kwargs": {"reasoning_effort": "low", "enable_thinking": False}}},
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"include": ["message.output_text.logprobs"]}, OutputFlags(reasoning=True, logprobs=True, signatures=True)),
        (
            {"include": ["message.output_text.logprobs", "reasoning.encrypted_content"], "top_logprobs": 3},
            OutputFlags(reasoning=True, logprobs=True, top_logprobs=3, signatures=True),
        ),
        ({"top_logprobs": 3}, OutputFlags(reasoning=True, signatures=True)),
        ({"reasoning": {"effort": "none"}}, OutputFlags(signatures=True)),
        (
            {"reasoning": None, "include": None, "text": None, "tools": None},
            OutputFlags(reasoning=True, signatures=True),
        ),
    ],
)
def test_output(fields: dict[str, Any], expected: OutputFlags) -> None:
    assert parse(fields).output == expected


@pytest.mark.parametrize(
    "fields",
    [
        {"user": "me", "safety_identifier": "x", "prompt_cache_key": "y", "metadata": {"a": "b"}},
        {"service_tier": "flex", "prompt_cache_retention": "24h", "max_tool_calls": 3, "prompt_cache_options": {}},
        {"truncation": "disabled", "store": False, "background": False, "stream": False},
        {"stream": True, "stream_options": {"include_obfuscation": False}},
        {"conversation": None, "prompt": None, "context_management": []},
        {"text": {"format": {"type": "text"}, "verbosity": "low"}},
    ],
)
def test_what_changes_nothing_is_fine(fields: dict[str, Any]) -> None:
    assert parse(fields) == parse({})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("hi", "hi"),
        ([{"type": "input_text", "text": "hi"}], (TextPart("hi"),)),
        (
            [{"type": "input_text", "text": "hi"}, IMAGE],
            (TextPart("hi"), ImagePart(url=IMAGE["image_url"], detail="low")),
        ),
    ],
)
def test_messages_of_a_user(content: Any, expected: Any) -> None:
    easy, full = {"role": "user", "content": content}, {"type": "message", "role": "user", "content": content}
    for message in (easy, full):
        assert parse({"input": [message]}).messages == (Message(role="user", content=expected),)


def test_a_conversation_with_tools() -> None:
    items: list[Any] = [
        {"role": "developer", "content": "be short"},
        {"role": "user", "content": "3?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "id": "msg_1", "status": "completed", "role": "assistant"}
        | {"content": [{"type": "output_text", "text": "wait", "annotations": [], "logprobs": None}]},
        CALL | {"id": "fc_1", "status": "completed", "namespace": None, "caller": None},
        RESULT,
        RESULT | {"output": [{"type": "input_text", "text": "four"}], "call_id": "call_2"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]
    assert parse({"input": items, "instructions": "be kind"}).messages == (
        Message(role="system", content="be kind"),
        Message(role="system", content="be short"),
        Message(role="user", content="3?"),
        Message(
            role="assistant",
            content=(
                ReasoningPart("hm"),
                TextPart("wait"),
                ToolCallPart(id="call_1", name="look_up", arguments="{}"),
            ),
        ),
        Message(role="tool", content=(ToolResultPart(tool_call_id="call_1", content="3"),)),
        Message(role="tool", content=(ToolResultPart(tool_call_id="call_2", content=(TextPart("four"),)),)),
        Message(role="assistant", content=(TextPart("no"),)),
    )


def test_turns_of_an_assistant_that_follow_each_other_stay_apart() -> None:
    said = {"role": "assistant", "content": "a"}
    messages = parse({"input": [said, said, CALL, said]}).messages
    assert [len(message.parts) for message in messages] == [1, 2, 1]


def test_history_comes_between_the_instructions_and_the_input() -> None:
    messages = parse({"instructions": "be kind"}, (MessageItem(role="user", content="before"),)).messages
    assert [message.to_text() for message in messages] == ["be kind", "before", "a secret prompt"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, ToolChoice()),
        ({"tool_choice": "none", "parallel_tool_calls": False}, ToolChoice(mode="none", parallel=False)),
        ({"tool_choice": "required"}, ToolChoice(mode="required")),
        (
            {"tool_choice": {"type": "function", "name": "look_up"}},
            ToolChoice(mode="required", names=("look_up",), parallel=False),
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "look_up"}],
                }
            },
            ToolChoice(names=("look_up",)),
        ),
    ],
)
def test_tools(fields: dict[str, Any], expected: ToolChoice) -> None:
    request = parse({"tools": [TOOL, TOOL | {"name": "b", "strict": False, "description": "d"}]} | fields)
    assert request.tools == (
        Tool(name="look_up", parameters={"type": "object"}, strict=True),
        Tool(name="b", description="d", parameters={"type": "object"}),
    )
    assert request.tool_choice == expected


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ({"type": "text"}, TextFormat()),
        ({"type": "json_object"}, JsonObjectFormat()),
        (
            {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True},
            JsonSchemaFormat(schema=SCHEMA, name="n"),
        ),
    ],
)
def test_formats(form: dict[str, Any], expected: Any) -> None:
    assert parse({"text": {"format": form}}).response_format == expected
    forced = parse({"text": {"format": form}, "tools": [TOOL], "tool_choice": "required"})
    assert forced.response_format == TextFormat()


def part(**fields: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": [fields]}]}


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"nothing": 1}, "nothing", "unknown_parameter"),
        ({"messages": []}, "messages", "unknown_parameter"),
        ({"model": None}, "model", "invalid_type"),
        ({"input": ""}, "input", None),
        ({"input": []}, "input", None),
        ({"input": 3}, "input", "invalid_type"),
        ({"input": [3]}, "input[0]", "invalid_type"),
        ({"input": [{"content": "hi"}]}, "input[0].role", "missing_required_parameter"),
        ({"input": [{"role": "tool", "content": "hi"}]}, "input[0].role", "invalid_value"),
        ({"input": [CALL | {"x": 1}]}, "input[0].x", "unknown_parameter"),
        ({"input": [CALL | {"namespace": "x"}]}, "input[0].namespace", "invalid_type"),
        ({"input": [{"type": "web_search_call", "id": "x"}]}, "input[0].type", "unsupported_value"),
        (part(type="input_file", file_id="x"), "input[0].content[0].type", "unsupported_value"),
        (part(type="input_image", file_id="x"), "input[0].content[0].file_id", "invalid_type"),
        (part(type="output_text", text="x"), "input[0].content[0]", "invalid_value"),
        ({"input": [{"role": "system", "content": [IMAGE]}]}, "input[0].content[0]", "invalid_value"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type", "unsupported_value"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type", "unsupported_value"),
        ({"tools": [TOOL, TOOL]}, "tools[1].name", None),
        ({"tools": [TOOL | {"parameters": {"type": "array"}}]}, "tools[0].parameters", "invalid_function_parameters"),
        ({"tools": [TOOL | {"async": True}]}, "tools[0].async", "invalid_value"),
        ({"tool_choice": {"type": "mcp", "server_label": "x"}}, "tool_choice.type", "unsupported_value"),
        ({"tool_choice": {"type": "function", "name": "x"}}, "tool_choice", None),
        ({"tool_choice": "required"}, "tool_choice", None),
        ({"text": {"format": {"type": "grammar"}}}, "text.format.type", "invalid_value"),
        (
            {"text": {"format": {"type": "json_schema", "name": "n", "schema": {"type": "no"}}}},
            "text.format.schema",
            "invalid_value",
        ),
        (
            {"text": {"format": {"type": "json_schema", "name": "n\n", "schema": {}}}},
            "text.format.name",
            "invalid_value",
        ),
        ({"include": ["file_search_call.results"]}, "include[0]", "unsupported_value"),
        ({"include": ["nothing"]}, "include[0]", "unsupported_value"),
        ({"truncation": "auto"}, "truncation", "unsupported_value"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_parameter"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_parameter"),
        ({"background": True, "store": False}, "background", "invalid_value"),
        ({"stream_options": {}}, "stream_options", "invalid_value"),
        ({"metadata": {str(i): "" for i in range(17)}}, "metadata", "array_above_max_length"),
        ({"metadata": {"a": 1}}, "metadata[...]", "invalid_type"),
        ({"temperature": 3}, "temperature", "decimal_above_max_value"),
        ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
        ({"max_output_tokens": 0}, "max_output_tokens", "integer_below_min_value"),
    ],
)
def test_what_is_refused(fields: dict[str, Any], param: str, code: str | None) -> None:
    assert refuse(fields) == (param, code)


@pytest.mark.parametrize(
    ("native", "own"),
    [
        ("messages", "input"),
        ("messages[3].content[0]", "input"),
        ("generation_parameters.max_tokens", "max_output_tokens"),
        ("generation_parameters.temperature", "temperature"),
        ("generation_parameters.provider_extensions.vllm.chat_template_kwargs.x", "reasoning"),
        ("output.top_logprobs", "top_logprobs"),
        ("response_format.schema", "text.format.schema"),
        ("tools[0].parameters", "tools[0].parameters"),
        ("tool_choice.names[0]", "tool_choice"),
        ("model", "model"),
    ],
)
def test_native_paths_have_names_here(native: str, own: str) -> None:
    assert to_field(native) == own


def test_an_unknown_path_has_the_code_that_openai_has_for_it() -> None:
    failure = failure_of_error(HeadraceError(ErrorCode.NOT_FOUND, "there is no GET /v1/responses/a/b/c"))
    assert to_error(failure).error.code == "unknown_url"
