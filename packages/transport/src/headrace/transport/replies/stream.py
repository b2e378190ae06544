"""One attempt's events on their way out, and what it takes to tell them once more.

What was sent is kept, merged, for as long as some of it may not have arrived; it is bounded by the length of the
answer.
"""

from collections.abc import Callable, Sequence

from headrace.schema.events import Event, ReplyItem, StreamChunk
from headrace.schema.merge import merge_deltas

MERGE_ABOVE = 64
MERGE_TOLD_ABOVE = 256


class ReplyStream:
    """Collects events, and makes chunks of them. A `ReplyWriter`.

    Attributes:
        reply_address: where its chunks go.
        request_id: the request.
        attempt: which try.
        is_retained: it is held while nobody reads its address, and not given up.
        must_retell: the next chunk tells the attempt from its start.
        is_held: a chunk is on its way into the object store, and what follows it must wait.
        ready: what goes out for that chunk, once it is there.
    """

    __slots__ = (
        "_offset",
        "_on_close",
        "_on_write",
        "_pending",
        "_told",
        "attempt",
        "is_held",
        "is_retained",
        "must_retell",
        "ready",
        "reply_address",
        "request_id",
    )

    def __init__(
        self,
        reply_address: str,
        *,
        request_id: str,
        attempt: int,
        is_retained: bool = False,
        on_write: "Callable[[ReplyStream], None]",
        on_close: "Callable[[ReplyStream], None]",
    ) -> None:
        self.reply_address = reply_address
        self.request_id = request_id
        self.attempt = attempt
        self.is_retained = is_retained
        self.must_retell = False
        self.is_held = False
        self.ready: ReplyItem | None = None
        self._on_write = on_write
        self._on_close = on_close
        self._offset = 0
        self._pending: list[Event] = []
        self._told: list[Event] = []

    def write(self, events: Sequence[Event]) -> None:
        """Append events; see `ReplyWriter`."""
        self._pending.extend(events)
        if len(self._pending) > MERGE_ABOVE:
            self._pending = merge_deltas(self._pending)
        self._on_write(self)

    def close(self) -> None:
        """Say that nothing follows: what was written is still sent, and can be told again for a while."""
        self._on_close(self)

    @property
    def has_told(self) -> bool:
        """Whether anything was sent."""
        return bool(self._told)

    @property
    def has_pending(self) -> bool:
        """Whether there is more to be sent."""
        return bool(self._pending) or self.must_retell

    def take_ready(self) -> ReplyItem | None:
        """Return what goes out for a chunk that was stored, if there is one."""
        ready, self.ready = self.ready, None
        return ready

    def take_chunk(self) -> StreamChunk:
        """Return what is to be sent now as one chunk, and count it."""
        events = tuple(self._pending)
        self._pending.clear()
        begin = self._offset
        self._offset += len(events)
        self._told.extend(events)
        if len(self._told) > MERGE_TOLD_ABOVE:
            self._told = merge_deltas(self._told)
        if not self.must_retell:
            return StreamChunk(self.request_id, self.attempt, begin, events)
        self.must_retell = False
        self._told = merge_deltas(self._told)
        return StreamChunk(self.request_id, self.attempt, self._offset, tuple(self._told), retells=True)
