"""Chunks that are too large for the broker: moved into the object store, in order, and told again if need be."""

import asyncio
from collections.abc import Sequence

from headrace.schema.codec import decode_replies
from headrace.schema.events import ReplyItem, SequenceDelta, SequenceStarted, StoredChunk, StreamChunk
from headrace.transport.base import TransportUnavailableError
from headrace.transport.objects import PayloadStore
from headrace.transport.replies import BrokerState, LargeReplies, ReplyOutbox
from tests.support.objects import MemoryObjects

THRESHOLD = 1000
LARGE = SequenceDelta(0, "x" * 2000, (1,))


class _Way:
    """A worker's way back with an object store."""

    def __init__(self) -> None:
        self.objects = MemoryObjects()
        self.items: list[ReplyItem] = []
        self.large = LargeReplies(PayloadStore(self.objects), threshold_bytes=THRESHOLD)
        self.outbox = ReplyOutbox(
            self.publish, lambda: BrokerState.OPEN, on_unread=self.ignore, unread_seconds=5.0, large=self.large
        )

    def publish(self, _address: str, body: bytes) -> None:
        self.items += decode_replies(body)

    def ignore(self, request_ids: Sequence[str]) -> None:
        pass

    def read(self) -> list[StreamChunk]:
        """What a scheduler reads: stored chunks out of the store."""
        chunks: list[StreamChunk] = []
        for item in self.items:
            if isinstance(item, StoredChunk):
                (inner,) = decode_replies(self.objects.kept[item.payload.key])
                assert isinstance(inner, StreamChunk)
                chunks.append(inner)
            elif isinstance(item, StreamChunk):
                chunks.append(item)
        return chunks

    async def flush(self) -> None:
        async with asyncio.timeout(10):
            await self.outbox.wait_empty()


async def test_only_the_large_chunk_of_a_batch_is_moved() -> None:
    way = _Way()
    small, large = (way.outbox.open("a", request_id=name, attempt=1) for name in ("small", "large"))
    small.write([SequenceDelta(0, "s")])
    large.write([LARGE])
    await way.flush()
    assert sorted(type(item).__name__ for item in way.items) == ["StoredChunk", "StreamChunk"]
    assert {chunk.request_id: chunk.events for chunk in way.read()} == {
        "small": (SequenceDelta(0, "s"),),
        "large": (LARGE,),
    }


async def test_what_is_written_meanwhile_follows_in_order() -> None:
    way = _Way()
    way.objects.opened.clear()
    stream = way.outbox.open("a", request_id="r", attempt=1)
    stream.write([SequenceStarted(0), LARGE])
    await way.objects.until(lambda: way.objects.calls == 1)
    stream.write([SequenceDelta(0, "after")])
    await asyncio.sleep(0)
    assert way.items == []
    way.objects.opened.set()
    await way.flush()
    first, second = way.read()
    assert (first.offset, first.events) == (0, (SequenceStarted(0), LARGE))
    assert (second.offset, second.events) == (2, (SequenceDelta(0, "after"),))


async def test_a_store_that_is_away_sends_it_through_the_broker() -> None:
    way = _Way()
    way.objects.failures = 100
    way.outbox.open("a", request_id="r", attempt=1).write([LARGE])
    await way.flush()
    assert way.items == [StreamChunk("r", 1, 0, (LARGE,))]


async def test_a_store_that_fails_for_a_moment_is_tried_again() -> None:
    way = _Way()
    way.objects.failures = 2
    way.outbox.open("a", request_id="r", attempt=1).write([LARGE])
    await way.flush()
    (item,) = way.items
    assert isinstance(item, StoredChunk)


async def test_a_connection_that_is_lost_meanwhile_has_it_told_again_as_a_whole() -> None:
    way = _Way()
    way.objects.opened.clear()
    stream = way.outbox.open("a", request_id="r", attempt=1)
    stream.write([LARGE])
    await way.objects.until(lambda: way.objects.calls == 1)
    way.outbox.lose_connection()
    way.objects.opened.set()
    await way.flush()
    (chunk,) = way.read()
    assert (chunk.retells, chunk.offset, chunk.events) == (True, 1, (LARGE,))
    assert len(way.objects.kept) == 1, "what was stored first is removed"


async def test_one_that_comes_back_is_told_again() -> None:
    way = _Way()
    way.outbox.open("a", request_id="r", attempt=1).write([LARGE])
    await way.flush()
    (returned,) = way.items
    way.items.clear()
    way.outbox.take_back("a", [returned])
    async with asyncio.timeout(10):
        while not way.items:
            await asyncio.to_thread(len, way.items)
    (chunk,) = way.read()
    assert (chunk.retells, chunk.events) == (True, (LARGE,))


class _Relay:
    def __init__(self, way: "_Way") -> None:
        self.way = way

    async def publish(self, channel: str, data: bytes) -> int:
        if not channel:
            raise TransportUnavailableError("no channel")
        self.way.publish(channel, data)
        return 1


async def test_references_go_round_the_broker_too() -> None:
    way = _Way()
    outbox = ReplyOutbox(
        way.publish, lambda: BrokerState.DOWN, on_unread=way.ignore, relay=_Relay(way), large=way.large
    )
    stream = outbox.open("a", request_id="r", attempt=1)
    stream.write([LARGE])
    async with asyncio.timeout(10):
        await outbox.wait_empty()
    stream.write([SequenceDelta(0, "after")])
    async with asyncio.timeout(10):
        await outbox.wait_empty()
    assert isinstance(way.items[0], StoredChunk)
    assert [chunk.offset for chunk in way.read()] == [0, 1]
