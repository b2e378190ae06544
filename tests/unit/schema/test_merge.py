"""Merging keeps what a reader can see."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.answer import AnswerFold
from headrace.schema.events import (
    Event,
    GenerationFinished,
    PromptEchoed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from headrace.schema.merge import merge_deltas
from headrace.schema.messages import ReasoningPart, TextPart

FINISHED = GenerationFinished(Usage(1, 2))

_calls = st.lists(st.builds(ToolCallDelta, st.integers(0, 1), st.text(max_size=2)), max_size=2).map(tuple)
_signatures = st.none() | st.builds(Signature, st.text(max_size=2), st.just("v"), st.booleans())
_logprobs = st.lists(st.builds(TokenLogprob, st.integers(0, 9), st.text(max_size=1), st.just(-1.0)), max_size=2)
_deltas = st.builds(
    SequenceDelta,
    st.integers(0, 2),
    st.text(max_size=2),
    st.none() | st.just((7,)),
    st.none() | _logprobs.map(tuple),
    st.text(max_size=2),
    _calls,
    _signatures,
    _signatures,
)
# Anything at all, also what no engine would write.
_events: st.SearchStrategy[Event] = st.one_of(
    _deltas,
    _deltas,
    st.builds(SequenceStarted, st.integers(0, 2)),
    st.builds(SequenceFinished, st.integers(0, 2), st.just("stop")),
    st.builds(PromptEchoed, st.integers(0, 2), st.just("p"), st.just((1,))),
)


def _letters(delta: SequenceDelta) -> Iterator[tuple[Any, ...]]:
    """Yield what a delta says, letter by letter, in the order in which it says it."""
    yield from (("reasoning", letter) for letter in delta.reasoning)
    if delta.thought_signature is not None:
        yield "thought", delta.thought_signature
    yield from (("text", letter) for letter in delta.text)
    if delta.text_signature is not None:
        yield "said", delta.text_signature
    for call in delta.tool_calls:
        yield from (("call", call.index, letter) for letter in call.arguments)


def _seen(events: Sequence[Event]) -> tuple[list[Event], dict[tuple[int, int], list[list[Any]]]]:
    """What a reader can tell: the other events in order, and what each sequence says between two of them."""
    others: list[Event] = []
    said: dict[tuple[int, int], list[list[Any]]] = {}
    for event in events:
        if isinstance(event, SequenceDelta):
            letters, ids, logprobs = said.setdefault((len(others), event.index), [[], [], []])
            letters += _letters(event)
            ids += event.token_ids or ()
            logprobs += event.logprobs or ()
        else:
            others.append(event)
    return others, said


@given(st.lists(_events))
def test_merging_changes_nothing_that_a_reader_sees(events: list[Event]) -> None:
    assert _seen(merge_deltas(events)) == _seen(events)


@given(st.lists(_events))
def test_merging_twice_is_merging_once(events: list[Event]) -> None:
    once = merge_deltas(events)
    assert merge_deltas(once) == once


def _cut(text: str, places: Sequence[int]) -> list[str]:
    cuts = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in pairwise(cuts)] or [""]


@st.composite
def _sequence(draw: st.DrawFn, index: int) -> list[Event]:
    """A sequence as an engine writes it: it thinks, speaks and calls, in pieces of any size, and may begin again."""
    places = st.lists(st.integers(0, 9), max_size=3)
    deltas: list[SequenceDelta] = []
    for number in range(draw(st.integers(0, 2))):
        thought, text, arguments = (draw(st.text(max_size=6)) for _ in range(3))
        of_thought, of_text, of_call = (draw(_signatures) for _ in range(3))
        deltas += (SequenceDelta(index, "", reasoning=piece) for piece in _cut(thought, draw(places)))
        if of_thought is not None:
            deltas.append(SequenceDelta(index, "", thought_signature=of_thought))
        deltas += (SequenceDelta(index, piece, (len(piece),)) for piece in _cut(text, draw(places)))
        if of_text is not None:
            deltas.append(SequenceDelta(index, "", text_signature=of_text))
        for i, piece in enumerate(_cut(arguments, draw(places))):
            begin: dict[str, Any] = (
                {"id": f"call_{number}", "name": f"tool_{number}", "signature": of_call} if i == 0 else {}
            )
            deltas.append(SequenceDelta(index, "", tool_calls=(ToolCallDelta(number, piece, **begin),)))
    return [SequenceStarted(index), *deltas, SequenceFinished(index, "stop")]


@st.composite
def _streams(draw: st.DrawFn) -> list[Event]:
    sequences = [draw(_sequence(index)) for index in range(3)]
    order = draw(st.permutations([i for i, events in enumerate(sequences) for _ in events]))
    queues = [iter(events) for events in sequences]
    return [*(next(queues[i]) for i in order), FINISHED]


def _fold(events: Sequence[Event]) -> AnswerFold:
    fold = AnswerFold()
    fold.add(events)
    return fold


@given(_streams(), st.integers(0, 20))
def test_the_answer_is_the_same_wherever_a_stream_is_merged(events: list[Event], cut: int) -> None:
    merged = [*merge_deltas(events[:cut]), *merge_deltas(events[cut:])]
    assert len(merged) <= len(events)
    assert _fold(merged).answer() == _fold(events).answer()


def test_a_long_wait_is_one_delta_for_each_sequence() -> None:
    events: list[Event] = [SequenceDelta(n % 2, "x") for n in range(1000)]
    assert merge_deltas(events) == [SequenceDelta(0, "x" * 500), SequenceDelta(1, "x" * 500)]


def test_a_thought_and_its_answer_and_its_calls_are_one_delta() -> None:
    call = ToolCallDelta(0, "{", "call_1", "look")
    events: list[Event] = [
        SequenceDelta(0, "", reasoning="Hm"),
        SequenceDelta(0, "", reasoning="."),
        SequenceDelta(0, "Let me"),
        SequenceDelta(0, " look."),
        SequenceDelta(0, "", tool_calls=(call,)),
        SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, "}"), ToolCallDelta(1, "{}", "call_2", "hear"))),
    ]
    calls = (ToolCallDelta(0, "{}", "call_1", "look"), ToolCallDelta(1, "{}", "call_2", "hear"))
    assert merge_deltas(events) == [SequenceDelta(0, "Let me look.", reasoning="Hm.", tool_calls=calls)]


def test_a_thought_after_the_answer_stays_after_it() -> None:
    events: list[Event] = [SequenceDelta(0, "a"), SequenceDelta(0, "", reasoning="b"), SequenceDelta(0, "c")]
    assert merge_deltas(events) == [SequenceDelta(0, "a"), SequenceDelta(0, "c", reasoning="b")]


def test_a_signature_ends_what_it_signs() -> None:
    one, two = Signature("1", "anthropic"), Signature("2", "anthropic", is_redacted=True)
    events: list[Event] = [
        SequenceDelta(0, "", reasoning="a"),
        SequenceDelta(0, "", reasoning="b"),
        SequenceDelta(0, "", thought_signature=one),
        SequenceDelta(0, "", thought_signature=two),
        SequenceDelta(0, "", reasoning="c"),
        SequenceDelta(0, "d"),
        SequenceDelta(0, "", text_signature=one),
        SequenceDelta(0, "e"),
    ]
    assert merge_deltas(events) == [
        SequenceDelta(0, "", reasoning="ab", thought_signature=one),
        SequenceDelta(0, "", thought_signature=two),
        SequenceDelta(0, "d", reasoning="c", text_signature=one),
        SequenceDelta(0, "e"),
    ]
    fold = _fold([SequenceStarted(0), *events, SequenceFinished(0, "stop"), FINISHED])
    assert fold.answer().sequences[0].parts == (
        ReasoningPart("ab", "1", "anthropic"),
        ReasoningPart("", "2", "anthropic", is_redacted=True),
        ReasoningPart("c"),
        TextPart("d", "1", "anthropic"),
        TextPart("e"),
    )
