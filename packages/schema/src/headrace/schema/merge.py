"""Merging deltas: how a stream stays small while its reader is slow.

Text that waits is kept once, however many steps it came in, so what a waiting stream holds is bounded by the length of
its answer and not by the number of events.
"""

from collections.abc import Sequence
from itertools import groupby

from headrace.schema.events import Event, SequenceDelta, ToolCallDelta

# A delta has one of each at most: it ends what it signs.
_ONCE = (1, 3)


def merge_deltas(events: Sequence[Event]) -> list[Event]:
    """Return the same stream in fewer events: the deltas of a sequence become one where nothing else lies between.

    Deltas of different sequences may pass each other, which no reader can see; nothing passes another kind of event.
    Inside a sequence reasoning, text and tool calls keep their order, with the signatures of thoughts and texts behind
    these: a delta says them in this one, so what comes in another begins a new delta, and so does a second signature.
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
    for deltas in run.values():
        merged.extend(deltas if len(deltas) == 1 else _merge_run(deltas))
    run.clear()


def _merge_run(deltas: Sequence[SequenceDelta]) -> list[SequenceDelta]:
    """Merge the deltas of one sequence."""
    groups: list[list[SequenceDelta]] = []
    reached = 0
    for delta in deltas:
        first = _first_kind(delta)
        if groups and (reached < first or (reached == first and first not in _ONCE)):
            groups[-1].append(delta)
        else:
            groups.append([delta])
            reached = 0
        reached = max(reached, _last_kind(delta))
    return [group[0] if len(group) == 1 else _join(group) for group in groups]


def _first_kind(delta: SequenceDelta) -> int:
    """Return the first kind of content in a delta, 5 for none.

    0 reasoning, 1 its signature, 2 text, 3 its signature, 4 tool calls.
    """
    if delta.reasoning:
        return 0
    if delta.thought_signature is not None:
        return 1
    if delta.text:
        return 2
    if delta.text_signature is not None:
        return 3
    return 4 if delta.tool_calls else 5


def _last_kind(delta: SequenceDelta) -> int:
    if delta.tool_calls:
        return 4
    if delta.text_signature is not None:
        return 3
    if delta.text:
        return 2
    return 0 if delta.thought_signature is None else 1


def _join(deltas: Sequence[SequenceDelta]) -> SequenceDelta:
    token_ids = [delta.token_ids for delta in deltas if delta.token_ids is not None]
    logprobs = [delta.logprobs for delta in deltas if delta.logprobs is not None]
    calls = [call for delta in deltas for call in delta.tool_calls]
    return SequenceDelta(
        index=deltas[0].index,
        text="".join([delta.text for delta in deltas]),
        token_ids=tuple(token for ids in token_ids for token in ids) if token_ids else None,
        logprobs=tuple(item for items in logprobs for item in items) if logprobs else None,
        reasoning="".join([delta.reasoning for delta in deltas]),
        tool_calls=_join_calls(calls) if len(calls) > 1 else tuple(calls),
        thought_signature=next((d.thought_signature for d in deltas if d.thought_signature is not None), None),
        text_signature=next((d.text_signature for d in deltas if d.text_signature is not None), None),
    )


def _join_calls(calls: Sequence[ToolCallDelta]) -> tuple[ToolCallDelta, ...]:
    """Join the pieces of each call; calls come one after the other."""
    joined: list[ToolCallDelta] = []
    for index, group in groupby(calls, key=_index_of):
        pieces = list(group)
        first = pieces[0]
        arguments = "".join([piece.arguments for piece in pieces])
        joined.append(ToolCallDelta(index, arguments, first.id, first.name, first.signature))
    return tuple(joined)


def _index_of(call: ToolCallDelta) -> int:
    return call.index
