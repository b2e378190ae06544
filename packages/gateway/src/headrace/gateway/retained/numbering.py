"""Frames with ids, so that a client can go on after the last one that it has, at any gateway.

A retained stream is written event by event, because another reader gets the events in other batches and must be able to
name the same places. The rendering of a client that goes on sees the whole stream: what the client has is left out of
what it writes, not of what it knows.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from headrace.gateway.answer import Answer
from headrace.gateway.dialects.base import Rendering
from headrace.gateway.retained.places import START, Place
from headrace.gateway.retained.reader import RetainedReader
from headrace.schema.events import Event, SequenceDelta, says_anything

_FRAME_END = b"\n\n"


@runtime_checkable
class NumberingRendering(Protocol):
    """A rendering whose frames carry ids by themselves, as the native one's."""

    position: int
    """Events of the stream that come before the next ones."""


class NumberedRendering:
    """Writes a retained stream in the words of another rendering.

    Args:
        rendering: writes the frames.
        reader: reads the events.
        place: what the client has already.
    """

    def __init__(self, rendering: Rendering, reader: RetainedReader, *, place: Place = START) -> None:
        self._rendering = rendering
        self._reader = reader
        self._head = f"id: {reader.request_id}:".encode()
        self._place = place
        self._position = 0

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return the frames of the next events that the client does not have."""
        if isinstance(self._rendering, NumberingRendering):
            return self._render_new(events, self._rendering)
        return b"".join([self._render(event) for event in events])

    def _render_new(self, events: Sequence[Event], rendering: NumberingRendering) -> bytes:
        known = max(0, self._place.events - self._position)
        self._position += len(events)
        shown = [event for event in events[known:] if not is_empty(event)]
        # A frame's id counts the events that are not shown too.
        rendering.position = self._place_after(self._position) - len(shown)
        return self._rendering.render_events(shown) if shown else b""

    def _place_after(self, position: int) -> int:
        """Return the place of a client that has so many events: an end that is told here only is none of the stream."""
        return min(position, self._reader.count)

    def _render(self, event: Event) -> bytes:
        before, self._position = self._position, self._position + 1
        if is_empty(event) or not (rendered := self._rendering.render_events((event,))):
            return b""
        if self._position <= self._place.events:
            return b""
        frames = rendered.removesuffix(_FRAME_END).split(_FRAME_END)
        skipped = self._place.frames if before == self._place.events else 0
        ids = [b"%b%d.%d\n" % (self._head, before, count) for count in range(1, len(frames))]
        ids.append(b"%b%d\n" % (self._head, self._place_after(self._position)))
        return b"".join(name + frame + _FRAME_END for name, frame in list(zip(ids, frames, strict=True))[skipped:])

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of a whole answer."""
        return self._rendering.render_answer(answer)


def is_empty(event: Event) -> bool:
    """Tell whether nothing of a delta is left to show: it brought what its reader did not ask for."""
    return type(event) is SequenceDelta and not says_anything(event)
