"""Merging deltas: how a stream stays small while its reader is slow.

Text that waits is kept once, however many steps it came in, so what a waiting stream holds is bounded by the length of
its answer and not by the number of events.
"""

from collections.abc import Sequence

from headrace.schema.events import Event, SequenceDelta


def merge_deltas(events: Sequence[Event]) -> list[Event]:
    """Return the same stream in fewer events: the deltas of a sequence become one where nothing else lies between.

    Deltas of different sequences may pass each other, which no reader can see; nothing passes another kind of event.
    """
    merged: list[Event] = []
    run: dict[int, list[SequenceDelta]] = {}
    for event in events:
        if isinstance(event, SequenceDelta):
            run.setdefault(event.index, []).append(event)
        else:
            _close_run(run, merged)
            merged.append(event)
    _close_run(run, merged)
    return merged


def _close_run(run: dict[int, list[SequenceDelta]], merged: list[Event]) -> None:
    merged.extend(deltas[0] if len(deltas) == 1 else _join(deltas) for deltas in run.values())
    run.clear()


def _join(deltas: Sequence[SequenceDelta]) -> SequenceDelta:
    token_ids = [delta.token_ids for delta in deltas if delta.token_ids is not None]
    return SequenceDelta(
        index=deltas[0].index,
        text="".join(delta.text for delta in deltas),
        token_ids=tuple(token for ids in token_ids for token in ids) if token_ids else None,
    )
