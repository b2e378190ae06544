"""The reply coalescer: whatever one turn of the event loop produces for a reply queue leaves as one message.

An engine step wakes many generations in one turn; each appends its events here, and a single flush, scheduled by the
first of them, publishes one array for each reply queue. While the way out is slow or down, the events wait and their
deltas merge, so memory is bounded by the length of the answers.
"""

import asyncio
from collections.abc import Callable, Sequence

from headrace.schema.events import AttemptQuery, Event, ReplyItem, StreamChunk
from headrace.schema.merge import merge_deltas

MERGE_ABOVE = 64
RETRY_SECONDS = 0.005

Publish = Callable[[str, Sequence[ReplyItem]], None]


class ReplyOutbox:
    """Collects events for each reply address and publishes them in batches.

    Args:
        publish: hands one batch to the broker.
        is_writable: whether the broker can take more now; while it can't, the outbox waits and merges.
    """

    def __init__(self, publish: Publish, is_writable: Callable[[], bool]) -> None:
        self._publish = publish
        self._is_writable = is_writable
        self._loop = asyncio.get_running_loop()
        self._dirty: dict[OutboxStream, None] = {}
        self._queries: list[tuple[str, AttemptQuery]] = []
        self._scheduled = False
        self._empty = asyncio.Event()
        self._empty.set()

    def open(self, reply_address: str, *, request_id: str, attempt: int) -> "OutboxStream":
        """Open the way back for one attempt."""
        return OutboxStream(self, reply_address, request_id, attempt)

    def send_query(self, reply_address: str, query: AttemptQuery) -> None:
        """Send a question beside the streams."""
        self._queries.append((reply_address, query))
        self._schedule()

    def mark_dirty(self, stream: "OutboxStream") -> None:
        """Note that a stream has events to send."""
        self._dirty[stream] = None
        if not self._scheduled:
            self._schedule()

    async def wait_empty(self) -> None:
        """Return when everything written so far was published."""
        await self._empty.wait()

    def _schedule(self) -> None:
        self._empty.clear()
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if not self._is_writable():
            self._scheduled = True
            self._loop.call_later(RETRY_SECONDS, self._flush)
            return
        batches: dict[str, list[ReplyItem]] = {}
        for address, query in self._queries:
            batches.setdefault(address, []).append(query)
        for stream in self._dirty:
            batches.setdefault(stream.reply_address, []).append(stream.take_chunk())
        self._queries.clear()
        self._dirty.clear()
        for address, items in batches.items():
            self._publish(address, items)
        self._empty.set()


class OutboxStream:
    """One attempt's events on their way out."""

    __slots__ = ("_offset", "_outbox", "_pending", "attempt", "reply_address", "request_id")

    def __init__(self, outbox: ReplyOutbox, reply_address: str, request_id: str, attempt: int) -> None:
        self.reply_address = reply_address
        self.request_id = request_id
        self.attempt = attempt
        self._outbox = outbox
        self._offset = 0
        self._pending: list[Event] = []

    def write(self, events: Sequence[Event]) -> None:
        """Append events; see `ReplyWriter`."""
        self._pending.extend(events)
        if len(self._pending) > MERGE_ABOVE:
            self._pending = merge_deltas(self._pending)
        self._outbox.mark_dirty(self)

    def close(self) -> None:
        """Nothing to release: what was written is still sent."""

    def take_chunk(self) -> StreamChunk:
        """Return what waits as one chunk, and count it."""
        events = tuple(self._pending)
        self._pending.clear()
        offset = self._offset
        self._offset += len(events)
        return StreamChunk(self.request_id, self.attempt, offset, events)
