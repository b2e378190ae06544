"""Frames, byte for byte and by the vendor's own types; and a stream and a whole answer are one fold."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from anthropic.lib.streaming._messages import accumulate_event
from anthropic.types import Message as SdkMessage
from anthropic.types import MessageTokensCount, RawMessageStreamEvent
from anthropic.types.shared import ErrorResponse
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from headrace.gateway.answer import AnswerFold
from headrace.gateway.dialects.anthropic.arguments import to_input
from headrace.gateway.dialects.anthropic.render import CountRendering, Thinking
from headrace.gateway.dialects.anthropic.stream import AnthropicRendering
from headrace.scheduler.base import Submission
from headrace.schema.errors import HeadraceError
from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    ToolCallDelta,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest
from tests.unit.gateway.doubles import USAGE

EVENTS: TypeAdapter[RawMessageStreamEvent] = TypeAdapter(RawMessageStreamEvent)
SUBMISSION = Submission(
    request_id="gen_1", request=ChatCompletionRequest(model="org/é", messages=(Message("user", "Hi"),))
)
BEGIN: tuple[Event, ...] = (GenerationQueued(2, 1.5), GenerationStarted("w", 5), SequenceStarted(0))
FINISHED = GenerationFinished(USAGE)


def render(events: Sequence[Event], thinking: Thinking = "shown") -> bytes:
    return AnthropicRendering(SUBMISSION, thinking=thinking).render_events(events)


def frames_of(text: bytes) -> list[tuple[str, Any]]:
    """The name and the data of each frame."""
    frames: list[tuple[str, Any]] = []
    for frame in text.decode().removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        value = msgspec.json.decode(data.removeprefix("data: "))
        assert value["type"] == name.removeprefix("event: ")
        frames.append((value["type"], value))
    return frames


def fold_as_the_sdk(text: bytes) -> dict[str, Any]:
    """What the official client makes of a stream."""
    message: Any = None
    pieces: dict[int, bytes] = {}
    for name, value in frames_of(text):
        if name != "ping":
            event = EVENTS.validate_python(value)
            message = accumulate_event(event=event, current_snapshot=message, json_bufs=pieces)
    return message.to_dict()


def whole(events: Sequence[Event], thinking: Thinking = "shown") -> dict[str, Any]:
    fold = AnswerFold()
    fold.add(events)
    body = AnthropicRendering(SUBMISSION, thinking=thinking).render_answer(fold.answer())
    return SdkMessage.model_validate_json(body).to_dict()


def test_frames_of_text() -> None:
    deltas = (SequenceDelta(0, "Hel"), SequenceDelta(0, 'lo"\n\u2028é'))
    text = render((*BEGIN, *deltas, SequenceFinished(0, "stop"), FINISHED)).decode()
    start, rest = text.split("\n\n", 1)
    assert msgspec.json.decode(start.removeprefix("event: message_start\ndata: ")) == {
        "type": "message_start",
        "message": {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "model": "org/é",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "container": None,
            "diagnostics": None,
            "usage": {
                "input_tokens": 5,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 0,
                "output_tokens_details": {"thinking_tokens": 0},
                "server_tool_use": None,
                "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
                "inference_geo": None,
                "service_tier": "standard",
                "speed": None,
            },
        },
    }
    assert rest == (
        "event: content_block_start\n"
        'data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}\n\n'
        'event: ping\ndata: {"type":"ping"}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}\n\n'
        "event: content_block_delta\n"
        'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo\\"\\n\\u2028é"}}\n\n'
        'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
        "event: message_delta\n"
        'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null,"stop_details":null,'
        '"container":null},"usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":2,'
        '"output_tokens":7,"output_tokens_details":{"thinking_tokens":0},"server_tool_use":null}}\n\n'
        'event: message_stop\ndata: {"type":"message_stop"}\n\n'
    )


EVERYTHING: tuple[Event, ...] = (
    *BEGIN,
    SequenceDelta(0, "", reasoning="hm"),
    SequenceDelta(0, "So", reasoning="m"),
    SequenceDelta(0, ":", tool_calls=(ToolCallDelta(0, id="call_a", name="f"), ToolCallDelta(0, '{"x"'))),
    SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, ":1}"), ToolCallDelta(1, id="call_b", name="g"))),
    SequenceFinished(0, "tool_calls"),
    FINISHED,
)


def blocks_of(text: bytes) -> list[Any]:
    """Starts and stops as they are; of deltas, what they add."""
    found: list[Any] = []
    for name, value in frames_of(text):
        if name == "content_block_delta":
            assert value["index"] == found.count("stop")
            found.append(tuple(value["delta"].values()))
        elif name.startswith("content_block"):
            found.append(value.get("content_block", "stop"))
    return found


def test_frames_of_thoughts_and_calls() -> None:
    caller = {"type": "direct"}
    thought = {"type": "thinking", "thinking": "", "signature": ""}
    rest: list[Any] = [
        ("signature_delta", "gen_1"),
        "stop",
        {"type": "text", "text": ""},
        ("text_delta", "So"),
        ("text_delta", ":"),
        "stop",
        {"type": "tool_use", "id": "toolu_a", "name": "f", "input": {}, "caller": caller},
        ("input_json_delta", '{"x"'),
        ("input_json_delta", ":1}"),
        "stop",
        {"type": "tool_use", "id": "toolu_b", "name": "g", "input": {}, "caller": caller},
        "stop",
    ]
    shown = [("thinking_delta", "hm"), ("thinking_delta", "m")]
    assert blocks_of(render(EVERYTHING)) == [thought, *shown, *rest]
    assert blocks_of(render(EVERYTHING, "omitted")) == [thought, *rest]
    assert blocks_of(render(EVERYTHING, "none")) == rest[2:]


SIGNED = Signature("EqQB+/==", "anthropic")
SIGNED_EVENTS: tuple[Event, ...] = (
    *BEGIN,
    SequenceDelta(0, "", reasoning="hm"),
    SequenceDelta(0, "", thought_signature=SIGNED),
    SequenceDelta(0, "", thought_signature=Signature("ZW5j", "anthropic", is_redacted=True)),
    SequenceDelta(0, "", reasoning="so", thought_signature=Signature("Zw==", "gemini")),
    SequenceDelta(0, "", thought_signature=SIGNED),
    SequenceDelta(0, "a", text_signature=Signature("dGV4dA==", "gemini")),
    SequenceDelta(0, "b"),
    SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, "{}", "call_a", "f", Signature("Y2Fs", "gemini")),)),
    SequenceFinished(0, "tool_calls"),
    FINISHED,
)


def test_frames_of_signed_thoughts() -> None:
    thought = {"type": "thinking", "thinking": "", "signature": ""}
    redacted = [{"type": "redacted_thinking", "data": "ZW5j"}, "stop"]
    rest: list[Any] = [
        {"type": "text", "text": ""},
        ("text_delta", "a"),
        ("text_delta", "b"),
        "stop",
        {"type": "tool_use", "id": "toolu_a--sig-Y2Fs", "name": "f", "input": {}, "caller": {"type": "direct"}},
        ("input_json_delta", "{}"),
        "stop",
    ]
    empty = [thought, ("signature_delta", "EqQB+/=="), "stop"]
    assert blocks_of(render(SIGNED_EVENTS)) == [
        *(thought, ("thinking_delta", "hm"), ("signature_delta", "EqQB+/=="), "stop"),
        *redacted,
        *(thought, ("thinking_delta", "so"), ("signature_delta", "gemini:Zw=="), "stop"),
        *empty,
        *rest,
    ]
    omitted = [*empty, *redacted, thought, ("signature_delta", "gemini:Zw=="), "stop", *empty, *rest]
    assert blocks_of(render(SIGNED_EVENTS, "omitted")) == omitted
    assert blocks_of(render(SIGNED_EVENTS, "none")) == rest


@pytest.mark.parametrize("thinking", ["shown", "omitted", "none"])
def test_the_official_client_adds_signed_thoughts_up_to_the_whole_answer(thinking: Thinking) -> None:
    events = SIGNED_EVENTS
    assert fold_as_the_sdk(render(events, thinking))["content"] == whole(events, thinking)["content"]


def test_the_order_of_the_frames() -> None:
    names = [name for name, _ in frames_of(render(EVERYTHING))]
    assert names[:3] == ["message_start", "content_block_start", "ping"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


def test_nothing_is_sent_before_the_answer_begins() -> None:
    assert render(BEGIN[:2]) == b""


def test_an_answer_without_content() -> None:
    events = (SequenceFinished(0, "stop"), FINISHED)
    assert [name for name, _ in frames_of(render(events))] == ["message_start", "message_delta", "message_stop"]
    assert whole(events)["content"] == []


@pytest.mark.parametrize(
    ("reason", "stop", "expected"),
    [
        ("stop", None, ("end_turn", None, None)),
        ("stop", "END", ("stop_sequence", "END", None)),
        ("length", None, ("max_tokens", None, None)),
        ("tool_calls", None, ("tool_use", None, None)),
        ("tool_calls", "END", ("tool_use", None, None)),
        ("content_filter", None, ("refusal", None, {"type": "refusal", "category": None, "explanation": None})),
    ],
)
def test_how_it_ended(reason: FinishReason, stop: str | None, expected: tuple[Any, ...]) -> None:
    events = (*BEGIN, SequenceDelta(0, "a"), SequenceFinished(0, reason, stop), FINISHED)
    for message in (whole(events), fold_as_the_sdk(render(events))):
        assert (message["stop_reason"], message["stop_sequence"], message["stop_details"]) == expected


@pytest.mark.parametrize("ends", [(), (SequenceFinished(0, "cancelled"),), (SequenceFinished(0, "error"),)])
def test_what_was_given_up_never_looks_whole(ends: tuple[Event, ...]) -> None:
    events = (*BEGIN, SequenceDelta(0, "a"), *ends, FINISHED)
    text = render(events)
    assert b"message_stop" not in text
    assert frames_of(text)[-1][1] == {
        "type": "error",
        "error": {"type": "api_error", "message": "the answer ended before it was whole"},
        "request_id": "gen_1",
    }
    with pytest.raises(HeadraceError, match="before"):
        whole(events)


def test_a_failure_in_the_stream() -> None:
    failed = GenerationFailed("engine_dead", "it died", "decode", retryable=True, usage=USAGE)
    name, data = frames_of(render((*BEGIN, SequenceDelta(0, "a"), failed)))[-1]
    assert name == "error"
    assert ErrorResponse.model_validate(data).to_dict() == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "it died"},
        "request_id": "gen_1",
    }


def test_a_count() -> None:
    rendering = CountRendering(SUBMISSION)
    fold = AnswerFold()
    fold.add((GenerationStarted("w", 5), FINISHED))
    assert MessageTokensCount.model_validate_json(rendering.render_answer(fold.answer())).input_tokens == 5
    assert rendering.render_events(BEGIN) == b""


TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(TEXT, VALUES, max_size=4).map(lambda value: msgspec.json.encode(value).decode())


@st.composite
def pieces_of(draw: st.DrawFn, text: str) -> Iterator[str]:
    """A text, split anywhere; some pieces are empty."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return (text[i:j] for i, j in zip([0, *cuts], [*cuts, len(text)], strict=True))


@st.composite
def good_streams(draw: st.DrawFn) -> list[Event]:
    """Thoughts, then text, then calls, split anywhere; the last call may be cut where the tokens ran out."""
    events: list[Event] = [GenerationStarted("w", 5), SequenceStarted(0)]
    events += [SequenceDelta(0, "", reasoning=piece) for piece in draw(pieces_of(draw(TEXT)))]
    events += [SequenceDelta(0, piece) for piece in draw(pieces_of(draw(TEXT)))]
    calls = draw(st.lists(ARGUMENTS, max_size=3))
    is_cut = bool(calls) and draw(st.booleans())
    if is_cut:
        calls[-1] = calls[-1][: draw(st.integers(1, len(calls[-1])))]
    for index, arguments in enumerate(calls):
        first, *rest = draw(pieces_of(arguments))
        grown = [ToolCallDelta(index, first, id=f"call_{index}", name="f"), *(ToolCallDelta(index, x) for x in rest)]
        events += [SequenceDelta(0, "", tool_calls=(call,)) for call in grown]
    reason = "length" if is_cut else "tool_calls" if calls else "stop"
    return [*events, SequenceFinished(0, reason), FINISHED]


@given(good_streams(), st.sampled_from(["none", "shown", "omitted"]))
def test_a_whole_answer_is_the_fold_of_the_stream(events: list[Event], thinking: Thinking) -> None:
    text = render(events, thinking)
    assert fold_as_the_sdk(text) == whole(events, thinking)
    one_by_one = AnthropicRendering(SUBMISSION, thinking=thinking)
    assert b"".join(one_by_one.render_events((event,)) for event in events) == text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", {}),
        ("{}", {}),
        (' {"a": 1}\n', {"a": 1}),
        ('{"a": {"b": [1, "x', {"a": {"b": [1]}}),
        ('{"a": "b"} and more', {"a": "b"}),
        ("[1]", {"INVALID_JSON": "[1]"}),
        ("none", {"INVALID_JSON": "none"}),
        ('{"a": 01}', {}),
        ("{]", {}),
        ('{"a": "\\q", "b": 1}', {"INVALID_JSON": '{"a": "\\q", "b": 1}'}),
    ],
)
def test_arguments_that_are_no_object(arguments: str, expected: dict[str, Any]) -> None:
    assert to_input(arguments) == expected
