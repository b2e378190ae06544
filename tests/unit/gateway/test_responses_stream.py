"""The events of a response: their order, their types, and that they add up to the whole answer."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from openai.types.responses import Response

from headrace.gateway.answer import AnswerFold
from headrace.gateway.dialects.openai.responses.events import StreamEvent
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
    TokenLogprob,
    ToolCallDelta,
)
from headrace.schema.merge import merge_deltas
from tests.unit.gateway.doubles import USAGE
from tests.unit.gateway.responses_sdk import RESPONSE_ID, SDK_EVENTS, fold, make_rendering, read_frames, stream

START: tuple[Event, ...] = (GenerationStarted("worker-1", 5), SequenceStarted(0))
SUFFIX = RESPONSE_ID.removeprefix("resp_")


def ending(reason: FinishReason = "stop") -> tuple[Event, ...]:
    return (SequenceFinished(0, reason), GenerationFinished(USAGE))


def text(piece: str, *logprobs: TokenLogprob) -> SequenceDelta:
    return SequenceDelta(0, piece, logprobs=logprobs or None)


def thought(piece: str) -> SequenceDelta:
    return SequenceDelta(0, "", reasoning=piece)


def call(index: int, piece: str, *, is_first: bool) -> SequenceDelta:
    named = ToolCallDelta(index, piece, f"call_{index}", "look_up") if is_first else ToolCallDelta(index, piece)
    return SequenceDelta(0, "", tool_calls=(named,))


def types_of(events: Sequence[dict[str, Any]]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


MESSAGE = ["output_item.added", "content_part.added"]
MESSAGE_END = ["output_text.done", "content_part.done", "output_item.done"]
FIRST, CALL_END = ["created", "in_progress"], ["function_call_arguments.done", "output_item.done"]


def test_the_order_of_a_text() -> None:
    events = stream([START, (text("Hel"), text("lo")), ending()])
    assert types_of(events) == [*FIRST, *MESSAGE, *["output_text.delta"] * 2, *MESSAGE_END, "completed"]
    assert events[2]["item"] == {
        "type": "message",
        "id": f"msg_{SUFFIX}00",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    assert {event["item_id"] for event in events if "item_id" in event} == {f"msg_{SUFFIX}00"}
    assert events[-1]["response"]["output"] == [events[-2]["item"]]
    assert [event["response"]["status"] for event in events if "response" in event] == [
        "in_progress",
        "in_progress",
        "completed",
    ]


def test_the_order_of_a_thought_a_text_and_calls() -> None:
    delta = SequenceDelta(0, "so", reasoning="hm", tool_calls=(ToolCallDelta(0, "", "call_0", "look_up"),))
    events = stream([START, (delta, call(0, "{}", is_first=False), call(1, "{}", is_first=True)), ending("tool_calls")])
    assert types_of(events) == [
        *FIRST,
        *MESSAGE,
        "reasoning_text.delta",
        "reasoning_text.done",
        "content_part.done",
        "output_item.done",
        *MESSAGE,
        "output_text.delta",
        *MESSAGE_END,
        "output_item.added",
        "function_call_arguments.delta",
        *CALL_END,
        "output_item.added",
        "function_call_arguments.delta",
        *CALL_END,
        "completed",
    ]
    ids = [item["id"] for item in events[-1]["response"]["output"]]
    assert ids == [f"rs_{SUFFIX}00", f"msg_{SUFFIX}01", f"fc_{SUFFIX}02", f"fc_{SUFFIX}03"]
    assert [event["item"]["call_id"] for event in events if event.get("item", {}).get("name")] == [
        "call_0",
        "call_0",
        "call_1",
        "call_1",
    ]


def test_an_answer_without_a_word_is_an_empty_message() -> None:
    events = stream([START, ending()])
    assert types_of(events) == [*FIRST, *MESSAGE, *MESSAGE_END, "completed"]


@pytest.mark.parametrize(("reason", "shown"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_that_is_cut_off(reason: FinishReason, shown: str) -> None:
    events = stream([START, (text("Hel"),), ending(reason)])
    assert types_of(events)[-2:] == ["output_item.done", "incomplete"]
    assert events[-2]["item"]["status"] == "incomplete"
    response = events[-1]["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": shown})
    assert response["completed_at"] is None


@pytest.mark.parametrize(
    ("failure", "error", "code"),
    [
        (GenerationFailed("worker_lost", "gone", "decode", retryable=True), "worker_lost", "server_error"),
        (GenerationFailed("overloaded", "full", "queue", retryable=True), "rate_limit_exceeded", "rate_limit_exceeded"),
        (
            GenerationFailed("invalid_request", "no", "prefill", retryable=False, param="messages"),
            "invalid_request_error",
            "invalid_prompt",
        ),
    ],
)
def test_a_stream_that_fails(failure: GenerationFailed, error: str, code: str) -> None:
    events = stream([START, (text("Hel"), SequenceFinished(0, "error"), failure)])
    assert types_of(events) == [*FIRST, *MESSAGE, "output_text.delta", "error", "failed"]
    assert (events[-2]["code"], events[-2]["message"]) == (error, failure.message)
    assert events[-2]["param"] == ("input" if failure.param else None)
    response = events[-1]["response"]
    assert response["error"] == {"code": code, "message": failure.message}
    assert [item["status"] for item in response["output"]] == ["incomplete"]


def test_a_stream_that_fails_at_once_begins_all_the_same() -> None:
    waiting = GenerationQueued(3)
    events = stream([(waiting,), (GenerationFailed("deadline_exceeded", "late", "queue", retryable=True),)])
    assert types_of(events) == [*FIRST, "error", "failed"]


def test_a_stream_that_is_cancelled() -> None:
    events = stream([START, (GenerationFailed("cancelled", "cancelled", "decode", retryable=False),)])
    assert types_of(events) == [*FIRST, "error", "failed"]
    assert events[-1]["response"]["status"] == "cancelled"


def test_a_stream_that_ends_before_its_sequence_does() -> None:
    events = stream([START, (text("Hel"), GenerationFinished(USAGE))])
    assert types_of(events)[-2:] == ["error", "failed"]
    assert events[-1]["response"]["error"]["code"] == "server_error"


def test_logprobs_come_with_the_text_that_they_make() -> None:
    top = TokenLogprob(2, "x", -2.0)
    first, second, third = (
        TokenLogprob(1, "\ufffd", -0.5, b"\xf0\x9f", (top,)),
        TokenLogprob(2, "\ufffd", -0.25, b"\x98\x80"),
        TokenLogprob(3, "!", -1.0),
    )
    deltas = (SequenceDelta(0, "", logprobs=(first,)), text("😀", second), SequenceDelta(0, "", logprobs=(third,)))
    events = stream([START, deltas, ending()], include=["message.output_text.logprobs"])
    shown = [event["logprobs"] for event in events if event["type"] == "response.output_text.delta"]
    assert [[item["logprob"] for item in items] for items in shown] == [[-0.5, -0.25], [-1.0]]
    assert shown[0][0]["bytes"] == [0xF0, 0x9F]
    assert shown[0][0]["top_logprobs"] == [{"token": "x", "bytes": [120], "logprob": -2.0}]
    (message,) = events[-1]["response"]["output"]
    assert message["content"][0]["logprobs"] == shown[0] + shown[1]


def test_line_breaks_of_unicode_cut_no_frame() -> None:
    rendering = make_rendering(stream=True)
    frames = rendering.render_events((*START, text("a\u2028b\u2029c\x85d"), *ending())).decode()
    assert len(frames.splitlines()) == frames.count("\n")
    assert read_frames(frames)[-1]["response"]["output"][0]["content"][0]["text"] == "a\u2028b\u2029c\x85d"


Segment = tuple[str, list[str]]
PIECES = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4)
SEGMENTS = st.lists(st.tuples(st.sampled_from(["reasoning", "text", "call"]), PIECES), max_size=6)


def to_deltas(segments: Sequence[Segment]) -> list[Event]:
    deltas: list[Event] = []
    for number, (kind, pieces) in enumerate(segments):
        match kind:
            case "text":
                deltas += [text(piece) for piece in pieces]
            case "reasoning":
                deltas += [thought(piece) for piece in pieces]
            case _:
                deltas += [call(number, piece, is_first=i == 0) for i, piece in enumerate(pieces)]
    return deltas


def join_pieces(segments: Sequence[Segment]) -> list[Segment]:
    return [(kind, ["".join(pieces)]) for kind, pieces in segments]


@given(SEGMENTS, st.sampled_from(["stop", "length", "tool_calls"]))
def test_any_split_gives_the_same_answer(segments: list[Segment], reason: FinishReason) -> None:
    split = [*START, *to_deltas(segments), *ending(reason)]
    joined = [*START, *to_deltas(join_pieces(segments)), *ending(reason)]
    whole = fold(joined)
    Response.model_validate(whole)
    assert fold(split) == fold(merge_deltas(split)) == whole


@given(SEGMENTS, st.sampled_from(["stop", "length", "tool_calls"]))
def test_a_stream_adds_up_to_the_whole_answer(segments: list[Segment], reason: FinishReason) -> None:
    events = [*START, *to_deltas(segments), *ending(reason)]
    sent = stream([[event] for event in events])
    assert sent[-1]["response"] == fold(events)
    added: dict[int, Any] = {}
    grown: dict[int, str] = {}
    for event in sent:
        index: int = event.get("output_index", -1)
        if event["type"] == "response.output_item.added":
            assert index == len(added)
            added[index], grown[index] = event["item"], ""
        elif event["type"].endswith(".delta"):
            grown[index] += event["delta"]
        elif event["type"] == "response.output_item.done":
            item = event["item"]
            assert added[index]["id"] == item["id"]
            assert grown[index] == (item["content"][0]["text"] if "content" in item else item["arguments"])
    assert [event["item"] for event in sent if event["type"].endswith("item.done")] == sent[-1]["response"]["output"]


def test_an_answer_that_others_have_folded() -> None:
    events = [*START, SequenceDelta(0, "so", reasoning="hm"), call(0, "{}", is_first=True), *ending("tool_calls")]
    answers = AnswerFold()
    answers.add(events)
    rendering = make_rendering()
    assert msgspec.json.decode(rendering.render_answer(answers.answer())) == fold(events)
    broken = structs.replace(answers.answer().sequences[0], finish_reason="error")
    with pytest.raises(HeadraceError, match="whole"):
        rendering.render_answer(structs.replace(answers.answer(), sequences=(broken,)))


def test_every_event_is_one_of_ours_as_well() -> None:
    logprob = TokenLogprob(1, "a", -0.5)
    deltas = (thought("hm"), text("a", logprob), call(0, "{}", is_first=True))
    failed = (GenerationFailed("worker_lost", "gone", "decode", retryable=True),)
    sent = stream([START, deltas, ending()]) + stream([START, failed]) + stream([START, ending("length")])
    for event in sent:
        decoded = msgspec.convert(event, StreamEvent, strict=True)
        assert msgspec.json.decode(msgspec.json.encode(decoded)) == event
    assert {event["type"] for event in sent} <= SDK_EVENTS.keys()
