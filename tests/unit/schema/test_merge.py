"""Merging keeps what a reader can see."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.schema.events import Event, SequenceDelta, SequenceFinished, SequenceStarted
from headrace.schema.merge import merge_deltas

_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(SequenceDelta, st.integers(0, 3), st.text(max_size=3), st.none() | st.just((7,))),
    st.builds(SequenceStarted, st.integers(0, 3)),
    st.builds(SequenceFinished, st.integers(0, 3), st.just("stop")),
)


def _seen(events: list[Event]) -> tuple[list[Event], dict[tuple[int, int], tuple[str, tuple[int, ...]]]]:
    """What a reader can tell: the other events in order, and the text of each sequence between two of them."""
    others: list[Event] = []
    texts: dict[tuple[int, int], tuple[str, tuple[int, ...]]] = {}
    for event in events:
        if isinstance(event, SequenceDelta):
            text, ids = texts.get((len(others), event.index), ("", ()))
            texts[len(others), event.index] = (text + event.text, ids + (event.token_ids or ()))
        else:
            others.append(event)
    return others, texts


@given(st.lists(_events))
def test_merging_changes_nothing_that_a_reader_sees(events: list[Event]) -> None:
    assert _seen(merge_deltas(events)) == _seen(events)


@given(st.lists(_events))
def test_merging_twice_is_merging_once(events: list[Event]) -> None:
    once = merge_deltas(events)
    assert merge_deltas(once) == once


def test_a_long_wait_is_one_delta_for_each_sequence() -> None:
    events: list[Event] = [SequenceDelta(n % 2, "x") for n in range(1000)]
    assert merge_deltas(events) == [SequenceDelta(0, "x" * 500), SequenceDelta(1, "x" * 500)]
