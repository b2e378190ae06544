"""What every dialect promises of an answer, whatever is said in it, tested on each."""

from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.gateway.answer import Answer, AnswerFold
from headrace.gateway.dialects.base import Rendering
from headrace.gateway.failure import failure_of_event
from headrace.schema.events import Event, GenerationFailed, is_terminal
from tests.contract.dialects.base import DialectAdapter, Frame, Told, decode_arguments, signed_of
from tests.contract.dialects.frames import read_sse
from tests.contract.dialects.registry import ADAPTERS
from tests.contract.dialects.scripts import SCRIPTS, Script, splits

CASES = [(adapter, script) for adapter in ADAPTERS for script in SCRIPTS if script.features <= adapter.features]
STREAMS = [(adapter, script) for adapter, script in CASES if adapter.can_stream(script)]
ANSWERED = [(adapter, script) for adapter, script in CASES if not script.fails]
FAILED = [(adapter, script) for adapter, script in STREAMS if script.fails]


def every(cases: Sequence[tuple[DialectAdapter, Script]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("adapter", "script"), cases, ids=[f"{adapter.name}-{script.name}" for adapter, script in cases]
    )


def render(rendering: Rendering, batches: Sequence[Sequence[Event]]) -> list[Frame]:
    return read_sse(b"".join(rendering.render_events(batch) for batch in batches).decode())


def fold(events: Sequence[Event]) -> Answer:
    folding = AnswerFold()
    folding.add(events)
    return folding.answer()


def tell_whole(adapter: DialectAdapter, script: Script, events: Sequence[Event]) -> Told:
    body = adapter.open(script, stream=False).render_answer(fold(events))
    return adapter.read_whole(msgspec.json.decode(body))


def tell_stream(adapter: DialectAdapter, script: Script, batches: Sequence[Sequence[Event]]) -> Told:
    return adapter.read_frames(render(adapter.open(script, stream=True), batches))


def test_every_script_is_told_by_two_dialects_or_more() -> None:
    alone = [script.name for script in SCRIPTS if sum(case is script for _, case in CASES) < 2]
    assert alone == []


@every(STREAMS)
def test_a_stream_has_one_terminal_frame_and_nothing_after_it(adapter: DialectAdapter, script: Script) -> None:
    frames = render(adapter.open(script, stream=True), [script.events])
    assert [adapter.is_terminal(frame) for frame in frames] == [*[False] * (len(frames) - 1), True]


@every(ANSWERED)
def test_an_answer_tells_what_was_said(adapter: DialectAdapter, script: Script) -> None:
    told = tell_whole(adapter, script, script.events)
    answer = fold(script.events)
    assert told.usage is not None
    assert adapter.read_tokens(told.usage) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert list(told.sequences) == [sequence.index for sequence in answer.sequences]
    for sequence in answer.sequences:
        shown = told.sequences[sequence.index]
        assert shown.text == sequence.text
        assert shown.reasoning in (None, sequence.reasoning)
        assert shown.calls == tuple((call.name, decode_arguments(call.arguments)) for call in sequence.tool_calls)
        assert len(shown.call_ids) == len(set(shown.call_ids)) == len(sequence.tool_calls)
        assert shown.stop in (None, sequence.stop_sequence)
        # Anthropic has a word of its own for an end by a stop text.
        assert shown.end == (
            "stop_sequence" if adapter.name == "anthropic" and shown.stop else adapter.ends[sequence.finish_reason]
        )
        signed = [found for part in sequence.parts for found in signed_of(part) if found.kind in adapter.signs]
        assert shown.signed == tuple(signed)
        if "logprobs" in script.features:
            assert shown.logprobs == tuple(item.logprob for item in sequence.logprobs or ())


@every([case for case in ANSWERED if case in STREAMS])
def test_a_whole_answer_is_the_fold_of_the_stream(adapter: DialectAdapter, script: Script) -> None:
    assert tell_stream(adapter, script, [script.events]) == tell_whole(adapter, script, script.events)


@every([case for case in ANSWERED if case in STREAMS])
@settings(max_examples=30)
@given(data=st.data())
def test_any_split_tells_the_same_answer(adapter: DialectAdapter, script: Script, data: st.DataObject) -> None:
    batches = data.draw(splits(script))
    expected = tell_whole(adapter, script, script.events)
    assert tell_stream(adapter, script, batches) == expected
    assert tell_whole(adapter, script, [event for batch in batches for event in batch]) == expected


@every([case for case in STREAMS if case not in FAILED])
@settings(max_examples=30)
@given(data=st.data())
def test_wherever_a_stream_fails_it_ends_in_the_shape_of_the_vendor(
    adapter: DialectAdapter, script: Script, data: st.DataObject
) -> None:
    events = [event for batch in data.draw(splits(script)) for event in batch if not is_terminal(event)]
    cut = data.draw(st.integers(0, len(events)))
    failed = GenerationFailed("worker_lost", "the worker was lost", "decode", retryable=True)
    frames = render(adapter.open(script, stream=True), [*([events[:cut]] if cut else []), [failed]])
    assert [adapter.is_terminal(frame) for frame in frames] == [*[False] * (len(frames) - 1), True]
    assert adapter.read_failure(frames) == "the worker was lost"


@every(FAILED)
def test_a_failure_is_told_in_the_shape_of_the_vendor(adapter: DialectAdapter, script: Script) -> None:
    failed = script.events[-1]
    assert isinstance(failed, GenerationFailed)
    frames = render(adapter.open(script, stream=True), [script.events])
    assert adapter.read_failure(frames) == failed.message
    body = adapter.dialect.encode_failure(failure_of_event(failed))
    assert adapter.read_error(msgspec.json.decode(body)) == failed.message


@every(STREAMS)
def test_waiting_is_no_frame_of_a_vendor(adapter: DialectAdapter, script: Script) -> None:
    waiting = [event for event in script.events if type(event).__name__ == "GenerationQueued"]
    frames = render(adapter.open(script, stream=True), [waiting]) if waiting else []
    assert bool(frames) == (adapter.name == "native" and bool(waiting))
