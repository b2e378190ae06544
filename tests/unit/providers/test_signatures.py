"""Signatures: told where they are asked for, and sent back to the vendor that they are of, and to no other."""

from collections.abc import Iterator
from typing import Any, cast

import msgspec
import pytest

from headrace.providers.base import ProviderError
from headrace.providers.failing import Complaints
from headrace.providers.telling import GenerationTelling
from headrace.schema.events import Event, SequenceDelta, SequenceStarted, Signature, ToolCallDelta
from headrace.schema.messages import (
    MAX_SIGNATURE_CHARACTERS,
    Message,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from headrace.schema.request import ChatCompletionRequest, OutputFlags
from tests.unit.providers.test_requests import TIME, USER, WEATHER, ask, body_of, check_anthropic, check_gemini

OURS = Signature("c2lnbmVk", "anthropic")


def _tell(output: OutputFlags, signature: Signature = OURS) -> list[Event]:
    """Tell a thought, a text and a call, each of them signed."""
    complaints = Complaints("up", None)
    events: list[Event] = []
    sequence = GenerationTelling(count=1, request_id="gen_1", output=output, complaints=complaints).sequence(0, events)
    sequence.think(events, "Hm.")
    sequence.sign_thought(events, signature)
    sequence.say(events, "Yes.")
    sequence.sign_text(events, signature)
    sequence.call(events, 0, call_id="c", name="time", arguments="{}", signature=signature)
    return events


def _call(signature: Signature | None) -> SequenceDelta:
    return SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, "{}", "c", "time", signature),))


def test_signatures_are_told_where_they_are_asked_for() -> None:
    thought, of_thought = SequenceDelta(0, "", reasoning="Hm."), SequenceDelta(0, "", thought_signature=OURS)
    text, of_text = SequenceDelta(0, "Yes."), SequenceDelta(0, "", text_signature=OURS)
    begin = SequenceStarted(0)
    assert _tell(OutputFlags(reasoning=True, signatures=True)) == [
        begin,
        thought,
        of_thought,
        text,
        of_text,
        _call(OURS),
    ]
    assert _tell(OutputFlags(signatures=True)) == [begin, text, of_text, _call(OURS)]
    assert _tell(OutputFlags(reasoning=True)) == [begin, thought, text, _call(None)]


def test_an_empty_signature_is_none() -> None:
    events = _tell(OutputFlags(reasoning=True, signatures=True), Signature("", "anthropic"))
    assert events[1:] == [SequenceDelta(0, "", reasoning="Hm."), SequenceDelta(0, "Yes."), _call(None)]


def test_a_signature_that_could_not_be_sent_back_is_no_signature() -> None:
    with pytest.raises(ProviderError, match="too long"):
        _tell(OutputFlags(signatures=True), Signature("x" * (MAX_SIGNATURE_CHARACTERS + 1), "anthropic"))


def _signed_turn(signed_by: str) -> ChatCompletionRequest:
    """A turn with thoughts, a text and calls that one vendor signed."""
    answer = (
        ReasoningPart("Hm.", "dGhvdWdodA==", signed_by),
        ReasoningPart("", "ZW5jcnlwdGVk", signed_by, is_redacted=True),
        TextPart("A moment.", "dGV4dA==", signed_by),
        ToolCallPart(id="c1", name="time", arguments="{}", signature="Y2FsbA==", signed_by=signed_by),
        ToolCallPart(id="c2", name="weather", arguments="{}"),
    )
    results = tuple(ToolResultPart(tool_call_id=call_id, content="late") for call_id in ("c1", "c2"))
    return ask(
        (*USER, Message("assistant", answer), Message("tool", results)),
        tools=(WEATHER, TIME),
        output=OutputFlags(reasoning=True, signatures=True),
    )


def test_gemini_gets_its_own_signatures_back() -> None:
    body = body_of("gemini", _signed_turn("gemini"))
    assert body["contents"][1]["parts"] == [
        {"text": "Hm.", "thought": True, "thoughtSignature": "dGhvdWdodA=="},
        {"text": "", "thought": True, "thoughtSignature": "ZW5jcnlwdGVk"},
        {"text": "A moment.", "thoughtSignature": "dGV4dA=="},
        {"functionCall": {"id": "c1", "name": "time", "args": {}}, "thoughtSignature": "Y2FsbA=="},
        {"functionCall": {"id": "c2", "name": "weather", "args": {}}},
    ]
    check_gemini(body)


def test_gemini_gets_nobody_elses_signatures() -> None:
    for vendor in ("anthropic", "openai"):
        assert body_of("gemini", _signed_turn(vendor))["contents"][1]["parts"] == [
            {"text": "A moment."},
            {
                "functionCall": {"id": "c1", "name": "time", "args": {}},
                "thoughtSignature": "skip_thought_signature_validator",
            },
            {"functionCall": {"id": "c2", "name": "weather", "args": {}}},
        ]


def test_anthropic_gets_its_own_signatures_back() -> None:
    body = body_of("anthropic", _signed_turn("anthropic"), thinking_tokens=1024)
    assert body["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "dGhvdWdodA=="},
        {"type": "redacted_thinking", "data": "ZW5jcnlwdGVk"},
        {"type": "text", "text": "A moment."},
        {"type": "tool_use", "id": "c1", "name": "time", "input": {}},
        {"type": "tool_use", "id": "c2", "name": "weather", "input": {}},
    ]
    assert body["thinking"]["type"] == "enabled"
    check_anthropic(body)


def test_anthropic_gets_nobody_elses_signatures() -> None:
    for vendor in ("gemini", "openai"):
        body = body_of("anthropic", _signed_turn(vendor), thinking_tokens=1024)
        assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
        assert "thinking" not in body
        assert b"dGhvdWdodA" not in msgspec.json.encode(body)


@pytest.mark.parametrize("vendor", ["anthropic", "gemini", "openai"])
def test_openai_and_its_kin_get_no_signatures(vendor: str) -> None:
    for url in ("https://api.openai.com/v1", "https://vllm.example/v1"):
        body = body_of("openai", _signed_turn(vendor), base_url=url)
        assert not {"dGhvdWdodA==", "ZW5jcnlwdGVk", "dGV4dA==", "Y2FsbA=="} & set(_strings_in(body))
        assert "extra_content" not in body["messages"][1]["tool_calls"][0]


def test_geminis_own_server_of_that_api_gets_the_signatures_of_calls() -> None:
    url = "https://generativelanguage.googleapis.com/v1beta/openai"
    for vendor, expected in (("gemini", "Y2FsbA=="), ("anthropic", "skip_thought_signature_validator")):
        first, second = body_of("openai", _signed_turn(vendor), base_url=url)["messages"][1]["tool_calls"]
        assert first["extra_content"] == {"google": {"thought_signature": expected}}
        assert "extra_content" not in second


def _strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in cast("dict[str, Any]", value).values():
            yield from _strings_in(item)
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _strings_in(item)
