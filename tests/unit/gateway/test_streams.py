"""Frames, byte for byte; and a stream and a whole answer are one fold."""

import struct
import time
from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.answer import AnswerFold
from headrace.gateway.dialects.base import Rendering
from headrace.gateway.dialects.native.stream import NativeRendering
from headrace.gateway.dialects.openai.chat.stream import OpenAIRendering
from headrace.scheduler.base import Submission
from headrace.schema.errors import HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    TokenLogprob,
    ToolCallDelta,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, OutputFlags
from tests.unit.gateway.doubles import TIMINGS, USAGE

ALL = OutputFlags(token_ids=True, usage=True, timings=True)
FAILED = GenerationFailed("engine_dead", "it died", "decode", retryable=True, usage=USAGE)
FINISHED = GenerationFinished(USAGE, TIMINGS)
EVERY_EVENT: tuple[Event, ...] = (
    GenerationQueued(2, 1.5),
    GenerationStarted("w", 5),
    SequenceStarted(0),
    SequenceDelta(0, 'a"\n', (1, 2)),
    SequenceFinished(0, "stop", "END"),
    FINISHED,
)


def submission_of(output: OutputFlags | None = None) -> Submission:
    request = ChatCompletionRequest(model="org/é", messages=(Message("user", "Hi"),), output=output or OutputFlags())
    return Submission(request_id="gen_1", request=request)


def openai(*, include_usage: bool = False) -> OpenAIRendering:
    return OpenAIRendering(submission_of(), include_usage=include_usage)


def test_native_frames_with_nothing_asked_for() -> None:
    rendering = NativeRendering(submission_of())
    assert rendering.render_events(EVERY_EVENT[:3]).decode() == (
        "event: chunk\nid: gen_1:3\n"
        'data: {"events":[{"type":"generation_queued","position":2,"eta_seconds":1.5},'
        '{"type":"generation_started"},{"type":"sequence_started","index":0}]}\n\n'
    )
    assert rendering.render_events(EVERY_EVENT[3:]).decode() == (
        "event: chunk\nid: gen_1:6\n"
        'data: {"events":[{"type":"sequence_delta","index":0,"text":"a\\"\\n"},'
        '{"type":"sequence_finished","index":0,"finish_reason":"stop","stop_sequence":"END"},'
        '{"type":"generation_finished"}]}\n\n'
    )


def test_native_frames_with_everything_asked_for() -> None:
    assert NativeRendering(submission_of(ALL)).render_events(EVERY_EVENT).decode() == (
        "event: chunk\nid: gen_1:6\n"
        'data: {"events":[{"type":"generation_queued","position":2,"eta_seconds":1.5},'
        '{"type":"generation_started","input_tokens":5},{"type":"sequence_started","index":0},'
        '{"type":"sequence_delta","index":0,"text":"a\\"\\n","token_ids":[1,2]},'
        '{"type":"sequence_finished","index":0,"finish_reason":"stop","stop_sequence":"END"},'
        '{"type":"generation_finished","usage":{"input_tokens":5,"output_tokens":7,"cached_tokens":2,'
        '"reasoning_tokens":0},"timings":{"queue_seconds":0.25,"first_token_seconds":0.5,"total_seconds":1.5}}]}\n\n'
    )


def test_native_frames_of_all_that_is_more_than_text() -> None:
    logprob = TokenLogprob(5, "H", -0.25, b"H", (TokenLogprob(5, "H", -0.25),))
    output = OutputFlags(reasoning=True, logprobs=True, top_logprobs=1, prompt=True, prompt_logprobs=0)
    events: list[Event] = [
        PromptEchoed(0, "Hi", (1, 5), (None, TokenLogprob(5, "Hi", -1.5))),
        PromptEmbedded(1, struct.pack("<2f", 0.5, -1.0)),
        SequenceDelta(0, "H", None, (logprob,), "Hm", (ToolCallDelta(0, "{", "call_1", "look"), ToolCallDelta(0, "}"))),
    ]
    assert NativeRendering(submission_of(output)).render_events(events).decode() == (
        "event: chunk\nid: gen_1:3\n"
        'data: {"events":[{"type":"prompt_echoed","index":0,"text":"Hi","token_ids":[1,5],'
        '"logprobs":[null,{"token_id":5,"text":"Hi","logprob":-1.5}]},'
        '{"type":"prompt_embedded","index":1,"vector":[0.5,-1.0]},'
        '{"type":"sequence_delta","index":0,"text":"H","reasoning":"Hm",'
        '"tool_calls":[{"index":0,"id":"call_1","name":"look","arguments":"{"},{"index":0,"arguments":"}"}],'
        '"logprobs":[{"token_id":5,"text":"H","logprob":-0.25,"bytes":[72],'
        '"top":[{"token_id":5,"text":"H","logprob":-0.25}]}]}]}\n\n'
    )


def test_native_failure() -> None:
    assert NativeRendering(submission_of(ALL)).render_events([FAILED]).decode() == (
        "event: chunk\nid: gen_1:1\n"
        'data: {"events":[{"type":"generation_failed","error":{"code":"engine_dead","message":"it died","param":null,'
        '"retryable":true},"stage":"decode","usage":{"input_tokens":5,"output_tokens":7,"cached_tokens":2,'
        '"reasoning_tokens":0}}]}\n\n'
    )


def openai_head(created: int) -> str:
    return (
        f'data: {{"id":"chatcmpl-1","object":"chat.completion.chunk","created":{created},"model":"org/é",'
        '"system_fingerprint":null,"choices":['
    )


@pytest.mark.parametrize("include_usage", [True, False])
def test_openai_frames(include_usage: bool) -> None:
    text = openai(include_usage=include_usage).render_events(EVERY_EVENT).decode()
    created = int(time.time())
    head = openai_head(created if str(created) in text else created - 1)
    tail = '],"usage":null}\n\n' if include_usage else "]}\n\n"
    usage = (
        head + '],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":'
        '{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":0}}}\n\n'
    )
    assert text == (
        f'{head}{{"index":0,"delta":{{"role":"assistant","content":""}},"logprobs":null,"finish_reason":null}}{tail}'
        f'{head}{{"index":0,"delta":{{"content":"a\\"\\n"}},"logprobs":null,"finish_reason":null}}{tail}'
        f'{head}{{"index":0,"delta":{{}},"logprobs":null,"finish_reason":"stop"}}{tail}'
        f"{usage if include_usage else ''}data: [DONE]\n\n"
    )


def test_openai_failure_ends_the_stream() -> None:
    assert openai().render_events([FAILED]).decode() == (
        'data: {"error":{"message":"it died","type":"server_error","param":null,"code":"engine_dead"}}\n\n'
    )


def test_openai_has_no_word_for_waiting() -> None:
    assert openai().render_events(EVERY_EVENT[:2]) == b""


def test_openai_never_shows_a_sequence_that_was_given_up_as_whole() -> None:
    events = [SequenceStarted(0), SequenceDelta(0, "a"), SequenceFinished(0, "error"), FINISHED]
    assert b"[DONE]" not in (text := openai().render_events(events))
    assert b'"code":"stream_broken"' in text
    fold = AnswerFold()
    fold.add(events)
    with pytest.raises(HeadraceError, match="before each of its choices"):
        openai().render_answer(fold.answer())


@pytest.mark.parametrize("events", [[], [SequenceStarted(0), FINISHED]])
def test_a_fold_that_is_not_whole_is_no_answer(events: Sequence[Event]) -> None:
    fold = AnswerFold()
    fold.add(events)
    with pytest.raises(HeadraceError) as raised:
        fold.answer()
    assert raised.value.code == "stream_broken"


TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), max_size=8)


@st.composite
def streams(draw: st.DrawFn) -> list[list[Event]]:
    """Batches of a good stream: sequences interleaved, texts split anywhere."""
    sequences: list[list[Event]] = []
    for index in range(draw(st.integers(1, 3))):
        deltas = [SequenceDelta(index, text) for text in draw(TEXTS)]
        sequences.append([SequenceStarted(index), *deltas, SequenceFinished(index, "stop")])
    order = draw(st.permutations([i for i, events in enumerate(sequences) for _ in events]))
    queues = [iter(events) for events in sequences]
    events: list[Event] = [GenerationStarted("w", 5), *(next(queues[i]) for i in order), FINISHED]
    cuts = draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    numbers = [sum(cuts[: i + 1]) for i in range(len(events))]
    return [[event for _, event in group] for _, group in groupby(zip(numbers, events, strict=True), lambda p: p[0])]


def frames_of(rendering: Rendering, batches: list[list[Event]]) -> list[str]:
    """The data of each frame, read as the laxest of clients reads lines."""
    text = b"".join(rendering.render_events(batch) for batch in batches).decode()
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


def whole_of(rendering: Rendering, batches: list[list[Event]]) -> dict[str, Any]:
    fold = AnswerFold()
    for batch in batches:
        fold.add(batch)
    return msgspec.json.decode(rendering.render_answer(fold.answer()))


@given(streams())
def test_openai_stream_adds_up_to_the_whole_answer(batches: list[list[Event]]) -> None:
    *frames, done = frames_of(openai(), batches)
    assert done == "[DONE]"
    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    for frame in frames:
        (choice,) = msgspec.json.decode(frame)["choices"]
        texts[choice["index"]] = texts.get(choice["index"], "") + choice["delta"].get("content", "")
        if choice["finish_reason"]:
            ends[choice["index"]] = choice["finish_reason"]
    whole = {choice["index"]: choice for choice in whole_of(openai(), batches)["choices"]}
    assert texts == {index: choice["message"]["content"] for index, choice in whole.items()}
    assert ends == {index: choice["finish_reason"] for index, choice in whole.items()}


@given(streams())
def test_native_stream_adds_up_to_the_whole_answer(batches: list[list[Event]]) -> None:
    make = partial(NativeRendering, submission_of())
    texts: dict[int, str] = {}
    ends: dict[int, str] = {}
    events = [event for frame in frames_of(make(), batches) for event in msgspec.json.decode(frame)["events"]]
    for event in events:
        match event["type"]:
            case "sequence_started":
                texts[event["index"]] = ""
            case "sequence_delta":
                texts[event["index"]] += event["text"]
            case "sequence_finished":
                ends[event["index"]] = event["finish_reason"]
            case _:
                pass
    assert len(events) == sum(len(batch) for batch in batches)
    whole = whole_of(make(), batches)["sequences"]
    assert texts == {sequence["index"]: sequence["text"] for sequence in whole}
    assert ends == {sequence["index"]: sequence["finish_reason"] for sequence in whole}


@given(TEXTS, TEXTS)
def test_any_split_gives_the_same_answer(first: list[str], second: list[str]) -> None:
    joined = "".join(first + second)
    whole: list[list[Event]] = [[SequenceStarted(0), SequenceDelta(0, joined), SequenceFinished(0, "stop"), FINISHED]]
    parts: list[list[Event]] = [
        [SequenceStarted(0), *(SequenceDelta(0, text) for text in first)],
        [*(SequenceDelta(0, text) for text in second), SequenceFinished(0, "stop"), FINISHED],
    ]
    make = partial(NativeRendering, submission_of(ALL))
    assert whole_of(make(), parts) == whole_of(make(), whole)
