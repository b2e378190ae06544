"""OpenAI's messages become ours, one for one, or are refused by the name of the field."""

from typing import Any

import pytest

from headrace.schema.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart, ToolResultPart
from tests.unit.gateway.openai_chat import LEAST, USER, parse, refuse

CALL: dict[str, Any] = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}
OTHER_CALL: dict[str, Any] = CALL | {"id": "call_2"}
ASKS: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWERS: dict[str, Any] = {"role": "tool", "tool_call_id": "call_1", "content": "5"}
PNG = "data:image/png;base64,AAAA"


def messages_of(*messages: dict[str, Any]) -> tuple[Message, ...]:
    return parse({"messages": [USER, *messages]}).messages[1:]


def test_a_conversation_with_tools() -> None:
    said = ASKS | {"content": "Let me see", "tool_calls": [CALL, OTHER_CALL]}
    results = [ANSWERS | {"tool_call_id": "call_2"}, ANSWERS | {"content": [{"type": "text", "text": "6"}]}]
    assert messages_of(said, *results, {"role": "assistant", "content": "Five"}) == (
        Message(
            "assistant",
            (
                TextPart("Let me see"),
                ToolCallPart(id="call_1", name="f", arguments='{"a":1}'),
                ToolCallPart(id="call_2", name="f", arguments='{"a":1}'),
            ),
        ),
        Message("tool", (ToolResultPart(tool_call_id="call_2", content="5"),)),
        Message("tool", (ToolResultPart(tool_call_id="call_1", content=(TextPart("6"),)),)),
        Message("assistant", "Five"),
    )


@pytest.mark.parametrize("content", [None, "", [{"type": "text", "text": ""}]])
def test_calls_without_text(content: object) -> None:
    first, _ = messages_of(ASKS | {"content": content}, ANSWERS)
    assert first.content == (ToolCallPart(id="call_1", name="f", arguments='{"a":1}'),)


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_that_is_sent_back(field: str) -> None:
    (message,) = messages_of({"role": "assistant", "content": "Yes", field: "Hm"})
    assert message.content == (ReasoningPart("Hm"), TextPart("Yes"))


def test_an_answer_that_is_sent_back_as_it_came() -> None:
    nothing: dict[str, Any] = {"refusal": None, "annotations": [], "audio": None, "function_call": None}
    nothing |= {"tool_calls": [], "reasoning": None, "reasoning_content": None}
    assert messages_of({"role": "assistant", "content": "Yes"} | nothing) == (Message("assistant", "Yes"),)


def test_refusals_are_text() -> None:
    assert messages_of(
        {"role": "assistant", "content": None, "refusal": "No"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "Never"}]},
    ) == (Message("assistant", "No"), Message("assistant", (TextPart("Never"),)))


@pytest.mark.parametrize("url", [PNG, "https://example.com/a.png"])
def test_images(url: str) -> None:
    parts = [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": url, "detail": "original"}}]
    (message,) = messages_of({"role": "user", "content": parts})
    assert message.content == (TextPart("See"), ImagePart(url=url, detail="high"))


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


WRONG: list[tuple[list[dict[str, Any]], str, str | None]] = [
    ([{"role": "function", "name": "f", "content": "5"}], "messages[0].role", "unsupported_value"),
    ([{"role": "user", "content": None}], "messages[0].content", "invalid_type"),
    ([{"role": "user"}], "messages[0].content", "invalid_type"),
    ([{"role": "user", "content": []}], "messages[0].content", "empty_array"),
    ([{"role": "assistant", "content": None}], "messages[0].content", "invalid_type"),
    ([user({"type": "text"})], "messages[0].content[0].text", "invalid_type"),
    ([user({"type": "input_audio", "input_audio": {}})], "messages[0].content[0].type", "unsupported_value"),
    ([user({"type": "file", "file": {}})], "messages[0].content[0].type", "unsupported_value"),
    ([user({"type": "refusal", "refusal": "No"})], "messages[0].content[0].type", "unsupported_value"),
    ([user({"type": "image_url"})], "messages[0].content[0].image_url", "invalid_type"),
    (
        [user({"type": "image_url", "image_url": {"url": "file:///a"}})],
        "messages[0].content[0].image_url.url",
        "invalid_value",
    ),
    (
        [user({"type": "image_url", "image_url": {"url": PNG, "detail": "huge"}})],
        "messages[0].content[0].image_url.detail",
        "unsupported_value",
    ),
    ([{"role": "system", "content": [{"type": "image_url"}]}], "messages[0].content[0].type", "unsupported_value"),
    ([USER | {"tool_calls": [CALL]}], "messages[0].tool_calls", "invalid_value"),
    ([USER | {"tool_call_id": "call_1"}], "messages[0].tool_call_id", "invalid_value"),
    ([USER | {"reasoning": "Hm"}], "messages[0].reasoning", "invalid_value"),
    ([{"role": "assistant", "content": "a", "audio": {"id": "x"}}], "messages[0].audio", None),
    ([{"role": "assistant", "content": "a", "function_call": {"name": "f"}}], "messages[0].function_call", None),
    ([ASKS | {"tool_calls": [CALL | {"type": "custom"}]}], "messages[0].tool_calls[0].type", "unsupported_value"),
    ([ASKS | {"tool_calls": [{"id": "a"}]}], "messages[0].tool_calls[0].function", "invalid_type"),
    ([ANSWERS], "messages[0].role", "invalid_value"),
    ([USER, ANSWERS | {"tool_call_id": None}], "messages[1].tool_call_id", "missing_required_parameter"),
    ([ASKS, ANSWERS | {"tool_call_id": "call_9"}], "messages[1].tool_call_id", "invalid_value"),
    ([ASKS, USER], "messages[0].tool_calls", "invalid_value"),
    ([USER, ASKS], "messages[1].tool_calls", "invalid_value"),
    ([ASKS | {"tool_calls": [CALL, OTHER_CALL]}, ANSWERS, USER], "messages[0].tool_calls", "invalid_value"),
    ([ASKS, ANSWERS, USER, ANSWERS], "messages[3].role", "invalid_value"),
    ([ASKS, ANSWERS | {"content": None}], "messages[1].content", "invalid_type"),
]


@pytest.mark.parametrize(("messages", "param", "reason"), WRONG)
def test_what_is_wrong_is_named(messages: list[dict[str, Any]], param: str, reason: str | None) -> None:
    failure = refuse(LEAST | {"messages": messages})
    assert (failure.param, failure.reason, failure.status) == (param, reason, 400)


def _signed(signature: str | None, signed_by: str | None = "gemini") -> ToolCallPart:
    signer = None if signature is None else signed_by
    return ToolCallPart(id="call_1", name="f", arguments='{"a":1}', signature=signature, signed_by=signer)


def _extra(signature: Any) -> dict[str, Any]:
    return {"extra_content": {"google": {"thought_signature": signature, "thought": True}, "other": {"x": 1}}}


@pytest.mark.parametrize(
    ("changes", "signature"),
    [
        (_extra("c2lnbmVk"), "c2lnbmVk"),
        ({"id": "call_1--sig-c2lnbmVk"}, "c2lnbmVk"),
        (_extra("bmV3") | {"id": "call_1--sig-c2lnbmVk"}, "bmV3"),
        (_extra(None), None),
        ({"extra_content": None}, None),
        ({"extra_content": {"google": 5}}, None),
    ],
)
def test_the_signature_of_a_call(changes: dict[str, Any], signature: str | None) -> None:
    call = CALL | changes
    said, result = messages_of(ASKS | {"tool_calls": [call]}, ANSWERS | {"tool_call_id": call["id"]})
    assert said.content == (_signed(signature),)
    assert result.content == (ToolResultPart(tool_call_id="call_1", content="5"),)


@pytest.mark.parametrize("signature", [5, ["a"], "x" * (2**20 + 1)])
def test_what_is_no_signature_of_a_call(signature: Any) -> None:
    failure = refuse(LEAST | {"messages": [USER, ASKS | {"tool_calls": [CALL | _extra(signature)]}, ANSWERS]})
    assert failure.param == "messages[1].tool_calls[0].extra_content.google.thought_signature"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Yes", (TextPart("Yes", "c2ln", "gemini"),)),
        ("", (TextPart("", "c2ln", "gemini"),)),
        (
            [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            (TextPart("a"), TextPart("b", "c2ln", "gemini")),
        ),
    ],
)
def test_the_signature_of_a_text(content: Any, expected: tuple[TextPart, ...]) -> None:
    (message,) = messages_of({"role": "assistant", "content": content} | _extra("c2ln"))
    assert message.content == expected


def test_signed_thoughts() -> None:
    blocks: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": "Hm", "signature": "c2ln", "index": 0},
        {"type": "redacted_thinking", "data": "ZW5j"},
        {"type": "thinking", "thinking": "So", "signature": "gemini:Zw=="},
        {"type": "thinking", "thinking": "And"},
    ]
    said = {"role": "assistant", "content": "Yes", "reasoning_content": "HmSoAnd", "thinking_blocks": blocks}
    (message,) = messages_of(said)
    assert message.content == (
        ReasoningPart("Hm", "c2ln", "anthropic"),
        ReasoningPart("", "ZW5j", "anthropic", is_redacted=True),
        ReasoningPart("So", "Zw==", "gemini"),
        ReasoningPart("And"),
        TextPart("Yes"),
    )


def test_a_signed_thought_whose_text_stands_beside_it() -> None:
    blocks = [{"type": "thinking", "thinking": "", "signature": "c2ln"}]
    said = {"role": "assistant", "content": "Yes", "reasoning_content": "Hm", "thinking_blocks": blocks}
    (message,) = messages_of(said)
    assert message.content == (ReasoningPart("Hm", "c2ln", "anthropic"), TextPart("Yes"))


@pytest.mark.parametrize("field", [{"thinking_blocks": [{"type": "redacted_thinking", "data": "x"}]}, _extra("x")])
def test_only_an_assistant_has_signatures(field: dict[str, Any]) -> None:
    assert refuse(LEAST | {"messages": [USER | field]}).param == f"messages[0].{next(iter(field))}"
