"""The reply coalescer: whatever one turn of the event loop produces for a reply address leaves as one message.

An engine step wakes many generations in one turn; each appends its events here, and a single flush, scheduled by the
first of them, publishes one array for each address. While the way out is slow or down, the events wait and their deltas
merge, so memory is bounded by the length of the answers.

There are two ways out, the broker and the relay; `routes` says which one is taken. Where some of what was sent may be
lost, a stream tells its attempt from the start, and the reader drops what it has.

Where nobody reads an address any more, its streams are given up, but for those of retained generations: they are held,
and still merge, until they are told who reads them now.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence

from headrace.schema.codec import encode_replies
from headrace.schema.events import AttemptQuery, AttemptRunning, ReplyItem, StoredChunk, StreamChunk
from headrace.transport.replies.large import LargeReplies, encode_alone
from headrace.transport.replies.relay_pump import Relay, RelayPump
from headrace.transport.replies.routes import RETRY_SECONDS, BrokerState, Routes, Way
from headrace.transport.replies.stream import ReplyStream
from headrace.transport.tasks import TaskOwner

SLOW_RETRY_SECONDS = 0.005
# Streams that have ended and may still be asked to tell their attempt again.
REMEMBERED_STREAMS = 256
# The same of retained generations, whose reader may come only after the one before it was given up.
REMEMBERED_RETAINED = 1024

Publish = Callable[[str, bytes], None]
Statement = AttemptQuery | AttemptRunning


class ReplyOutbox:
    """Collects events for each reply address and publishes them in batches.

    Args:
        publish: hands one encoded batch to the broker.
        state: what the broker's connection can do now.
        on_unread: learns the requests whose replies nobody reads any more.
        relay: the way round the broker; None where there is none.
        unread_seconds: how long an address may go unread where no relay knows whether its reader lives.
        large: moves chunks that are too large for the broker; None sends all of them through it.
    """

    def __init__(
        self,
        publish: Publish,
        state: Callable[[], BrokerState],
        *,
        on_unread: Callable[[Sequence[str]], None],
        relay: Relay | None = None,
        unread_seconds: float = 0.0,
        large: LargeReplies | None = None,
    ) -> None:
        self._publish = publish
        self._state = state
        self._on_unread = on_unread
        self._loop = asyncio.get_running_loop()
        self._routes = Routes(has_relay=relay is not None, unread_seconds=unread_seconds)
        self._pump: RelayPump | None = None
        if relay is not None:
            self._pump = RelayPump(relay, encode=self._encode, on_relayed=self._note_relayed, on_idle=self._note_empty)
        self._large = large
        self._held: set[ReplyStream] = set()
        self._tasks = TaskOwner()
        self._streams: dict[str, ReplyStream] = {}
        self._ended: OrderedDict[tuple[str, int], ReplyStream] = OrderedDict()
        self._ended_retained: OrderedDict[tuple[str, int], ReplyStream] = OrderedDict()
        self._unheard: dict[ReplyStream, asyncio.Event] = {}
        self._dirty: dict[ReplyStream, None] = {}
        self._statements: dict[str, list[Statement]] = {}
        self._timer: asyncio.Handle | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def open(self, reply_address: str, *, request_id: str, attempt: int, is_retained: bool = False) -> ReplyStream:
        """Open the way back for one attempt."""
        stream = ReplyStream(
            reply_address,
            request_id=request_id,
            attempt=attempt,
            is_retained=is_retained,
            on_write=self._mark_dirty,
            on_close=self._end,
        )
        self._streams[request_id] = stream
        return stream

    def send(self, reply_address: str, statement: Statement) -> None:
        """Send something beside the streams. It may be lost."""
        self._statements.setdefault(reply_address, []).append(statement)
        self._schedule()

    def list_running(self) -> list[tuple[str, str, int]]:
        """Return the streams that have not ended: where they are told, whose they are, and which attempts."""
        return [(stream.reply_address, stream.request_id, stream.attempt) for stream in self._streams.values()]

    def resend(self, request_id: str, attempt: int) -> None:
        """Tell an attempt from its start, because its reader misses something."""
        stream = self._streams.get(request_id)
        if stream is None or stream.attempt != attempt:
            stream = self._ended.get((request_id, attempt)) or self._ended_retained.get((request_id, attempt))
        if stream is not None:
            self._retell(stream)

    def redirect(self, request_id: str, reply_address: str) -> None:
        """Tell the attempts at a retained generation from their start to another address."""
        ended = [stream for (name, _), stream in self._ended_retained.items() if name == request_id]
        running = self._streams.get(request_id)
        for stream in ended if running is None else [*ended, running]:
            if stream.is_retained and stream.reply_address != reply_address:
                stream.reply_address = reply_address
                self._release(stream)
                self._retell(stream)

    async def wait_heard(self, request_id: str) -> None:
        """Return when none of a request's streams waits for a reader."""
        while waits := [heard for stream, heard in self._unheard.items() if stream.request_id == request_id]:
            await waits[0].wait()

    def lose_connection(self) -> None:
        """Learn that the broker's connection is gone, and with it perhaps what was last written to it."""
        for stream in [*self._streams.values(), *self._ended.values(), *self._ended_retained.values()]:
            if stream.has_told:
                self._retell(stream)

    def take_back(self, reply_address: str, items: Sequence[ReplyItem]) -> None:
        """Learn that nobody reads an address at the broker."""
        self._routes.note_returned(reply_address, self._loop.time())
        for item in items:
            if isinstance(item, StreamChunk | StoredChunk):
                self.resend(item.request_id, item.attempt)
            elif isinstance(item, AttemptQuery):
                self._ask_later(reply_address, item)
            self._discard(item)

    def _ask_later(self, reply_address: str, query: AttemptQuery) -> None:
        """Keep a question until it is known whether anybody is there to answer it: who asks holds a slot meanwhile."""
        waiting = self._statements.setdefault(reply_address, [])
        if query not in waiting:
            waiting.append(query)
        self._schedule(RETRY_SECONDS)

    async def wait_empty(self) -> None:
        """Return when everything written so far was handed over."""
        await self._empty.wait()

    async def close(self) -> None:
        """Stop: what waits is not sent any more."""
        if self._timer is not None:
            self._timer.cancel()
        await self._tasks.close()
        if self._pump is not None:
            await self._pump.close()

    def _end(self, stream: ReplyStream) -> None:
        if self._streams.get(stream.request_id) is stream:
            del self._streams[stream.request_id]
        remembered, most = self._ended, REMEMBERED_STREAMS
        if stream.is_retained:
            remembered, most = self._ended_retained, REMEMBERED_RETAINED
        remembered[stream.request_id, stream.attempt] = stream
        if len(remembered) > most:
            self._release(remembered.popitem(last=False)[1])

    def _retell(self, stream: ReplyStream) -> None:
        stream.must_retell = True
        self._mark_dirty(stream)

    def _keep_unheard(self, streams: Sequence[ReplyStream]) -> None:
        for stream in streams:
            # All of it is told once there is a reader.
            stream.must_retell = True
            self._unheard[stream] = asyncio.Event()

    def _release(self, stream: ReplyStream) -> None:
        if (heard := self._unheard.pop(stream, None)) is not None:
            heard.set()

    def _mark_dirty(self, stream: ReplyStream) -> None:
        if stream.is_held or stream in self._unheard:
            return
        self._dirty[stream] = None
        if self._timer is None:
            self._schedule()

    def _schedule(self, after_seconds: float = 0.0) -> None:
        self._empty.clear()
        if self._timer is not None:
            return
        if after_seconds:
            self._timer = self._loop.call_later(after_seconds, self._flush)
        else:
            self._timer = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._timer = None
        state = self._state()
        if state is BrokerState.SLOW:
            self._schedule(SLOW_RETRY_SECONDS)
            return
        by_address: dict[str, list[ReplyStream]] = {address: [] for address in self._statements}
        for stream in self._dirty:
            by_address.setdefault(stream.reply_address, []).append(stream)
        self._dirty = {}
        now = self._loop.time()
        for address, streams in by_address.items():
            statements = self._statements.pop(address, ())
            self._send(self._routes.way_to(address, state, now), address, streams, statements)
        if self._dirty or self._statements:
            self._schedule(RETRY_SECONDS)
        self._note_empty()

    def _send(self, way: Way, address: str, streams: list[ReplyStream], statements: Sequence[Statement]) -> None:
        if way is Way.BROKER:
            if body := self._encode(streams, statements):
                self._publish(address, body)
        elif way is Way.RELAY and self._pump is not None:
            self._pump.add(address, streams, statements)
        elif way is Way.NOBODY:
            self._keep_unheard([stream for stream in streams if stream.is_retained])
            asking = [said.request_id for said in statements if isinstance(said, AttemptQuery)]
            self._on_unread([*(stream.request_id for stream in streams), *asking])
        else:
            self._dirty |= dict.fromkeys(streams)
            if questions := [said for said in statements if isinstance(said, AttemptQuery)]:
                self._statements[address] = list(dict.fromkeys(questions))

    def _encode(self, streams: Sequence[ReplyStream], statements: Sequence[ReplyItem]) -> bytes:
        """Make a batch, without the chunks that are too large for it; empty where nothing remains."""
        if self._large is None:
            return encode_replies([*statements, *[stream.take_chunk() for stream in streams]])
        items = list(statements)
        chunks: list[tuple[ReplyStream, StreamChunk]] = []
        for stream in streams:
            if stream.is_held:
                continue
            if (ready := stream.take_ready()) is not None:
                items.append(ready)
                if stream.has_pending:
                    self._mark_dirty(stream)
            else:
                chunks.append((stream, chunk := stream.take_chunk()))
                items.append(chunk)
        body = encode_replies(items) if items else b""
        return self._move_large(items, chunks, self._large) if self._large.is_large(body) and chunks else body

    def _move_large(
        self, items: Sequence[ReplyItem], chunks: Sequence[tuple[ReplyStream, StreamChunk]], large: LargeReplies
    ) -> bytes:
        """Send the large chunks of a batch to the object store, and make a batch of the rest."""
        moved: set[int] = set()
        for stream, chunk in chunks:
            alone = encode_alone(chunk)
            if large.is_large(alone):
                moved.add(id(chunk))
                self._hold(stream, chunk, alone, large)
        rest = [item for item in items if id(item) not in moved]
        return encode_replies(rest) if rest else b""

    def _hold(self, stream: ReplyStream, chunk: StreamChunk, body: bytes, large: LargeReplies) -> None:
        stream.is_held = True
        self._held.add(stream)
        self._tasks.start(self._store(stream, chunk, body, large), name="store reply")

    async def _store(self, stream: ReplyStream, chunk: StreamChunk, body: bytes, large: LargeReplies) -> None:
        item = await large.store(chunk, body)
        stream.is_held = False
        self._held.discard(stream)
        if stream.must_retell:
            # What was told is told again as a whole, this chunk with it.
            self._discard(item)
        else:
            stream.ready = item
        self._mark_dirty(stream)

    def _discard(self, item: ReplyItem) -> None:
        if self._large is not None and isinstance(item, StoredChunk):
            self._tasks.start(self._large.discard(item), name="discard reply")

    def _note_relayed(
        self, address: str, streams: Sequence[ReplyStream], statements: Sequence[ReplyItem], heard: int | None
    ) -> None:
        now = self._loop.time()
        if heard is None:
            self._routes.note_relay_down(now)
        else:
            self._routes.note_relayed(address, heard, now)
        if not heard:
            for statement in statements:
                if isinstance(statement, AttemptQuery):
                    self._ask_later(address, statement)
            for stream in streams:
                stream.must_retell = True
                if not stream.is_held and stream not in self._unheard:
                    self._dirty[stream] = None
            self._schedule(RETRY_SECONDS)

    def _note_empty(self) -> None:
        if not self._dirty and not self._statements and not self._held and (self._pump is None or self._pump.is_idle):
            self._empty.set()
