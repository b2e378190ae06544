"""A generation that is paused and goes on is one stream, whatever the pieces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.control import ToldSequence
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.worker.retelling import Retelling


def answer(lengths: list[int]) -> list[list[Event]]:
    """The steps of a generation whose sequences have so many tokens."""
    steps: list[list[Event]] = [[GenerationStarted("w", 3)], [PromptEchoed(0, "hello", (1, 2, 3))]]
    for place in range(max(lengths)):
        step: list[Event] = []
        for index, length in enumerate(lengths):
            if place == 0:
                step.append(SequenceStarted(index))
            if place < length:
                step.append(SequenceDelta(index, f"{index}.{place} ", (1000 * index + place,)))
            if place == length - 1:
                step.append(SequenceFinished(index, "stop"))
        if step:
            steps.append(step)
    steps[-1].append(GenerationFinished(Usage(3, sum(lengths), 2)))
    return steps


def run_again(lengths: list[int], told: tuple[ToldSequence, ...]) -> list[list[Event]]:
    """What an engine says that goes on from what was told: all but the sequences that were finished."""
    over = {sequence.index for sequence in told if sequence.is_finished}
    return [
        [event for event in step if getattr(event, "index", None) not in over or isinstance(event, PromptEchoed)]
        for step in answer(lengths)
    ]


def flat(steps: list[list[Event]]) -> list[Event]:
    return [event for step in steps for event in step]


@given(st.lists(st.integers(1, 6), min_size=1, max_size=3), st.lists(st.integers(1, 9), max_size=3))
def test_pauses_leave_no_trace(lengths: list[int], cuts: list[int]) -> None:
    retelling = Retelling()
    said: list[Event] = []
    for cut in [*cuts, 100]:
        told = retelling.begin_turn()
        for step in run_again(lengths, told)[:cut]:
            said += retelling.take(step)
        if retelling.is_over:
            break
    whole = flat(answer(lengths))
    assert said[:-1] == whole[:-1]
    assert isinstance(said[-1], GenerationFinished)
    assert said[-1].usage.output_tokens == sum(lengths)


def test_the_engine_goes_on_from_the_longer_of_what_was_told_before_and_now() -> None:
    retelling = Retelling([ToldSequence(0, (0, 1, 2)), ToldSequence(1, (1000,), is_finished=True)])
    assert retelling.has_told
    assert retelling.begin_turn() == (ToldSequence(0, (0, 1, 2)), ToldSequence(1, (1000,), is_finished=True))
    retelling.take([SequenceStarted(0), SequenceDelta(0, "a", (0,))])
    assert retelling.begin_turn()[0] == ToldSequence(0, (0, 1, 2))
    assert retelling.take([SequenceStarted(0), SequenceDelta(0, "abcd", (0, 1, 2, 3))]) == [
        SequenceDelta(0, "bcd", (1, 2, 3))
    ]
    assert retelling.begin_turn()[0] == ToldSequence(0, (0, 1, 2, 3))


def test_a_whole_sequence_that_is_told_again_is_dropped() -> None:
    retelling = Retelling()
    retelling.begin_turn()
    first: list[Event] = [SequenceStarted(0), SequenceDelta(0, "ab", (1, 2)), SequenceFinished(0, "stop")]
    assert retelling.take(first) == first
    assert retelling.begin_turn() == (ToldSequence(0, (1, 2), is_finished=True),)
    assert retelling.take(first) == []


def test_embeddings_are_told_once() -> None:
    retelling = Retelling()
    retelling.begin_turn()
    retelling.take([GenerationStarted("w"), PromptEmbedded(0, b"v")])
    assert not retelling.has_told
    retelling.begin_turn()
    events: list[Event] = [GenerationStarted("w"), PromptEmbedded(0, b"v"), PromptEmbedded(1, b"w")]
    assert retelling.take(events) == [PromptEmbedded(1, b"w")]


@pytest.mark.parametrize(
    "again",
    [
        [SequenceStarted(0), SequenceDelta(0, "ax", (1, 9))],
        [SequenceStarted(0), SequenceDelta(0, "a", (1,)), SequenceFinished(0, "stop")],
    ],
)
def test_two_answers_are_never_spliced(again: list[Event]) -> None:
    retelling = Retelling()
    retelling.begin_turn()
    retelling.take([SequenceStarted(0), SequenceDelta(0, "ab", (1, 2))])
    retelling.begin_turn()
    with pytest.raises(HeadraceError) as failure:
        retelling.take(again)
    assert failure.value.code == ErrorCode.WORKER_LOST
