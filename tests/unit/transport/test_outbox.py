"""The outbox: one batch a turn, and bounded memory while the way out is closed."""

import asyncio
from collections.abc import Sequence

from headrace.schema.codec import decode_replies
from headrace.schema.events import AttemptQuery, ReplyItem, SequenceDelta, SequenceStarted, StreamChunk
from headrace.transport.replies import BrokerState, ReplyOutbox
from headrace.transport.tasks import TaskOwner


class _Way:
    """A way out that can be closed."""

    def __init__(self) -> None:
        self.is_open = True
        self.sent: list[tuple[str, Sequence[ReplyItem]]] = []
        self.unread: list[str] = []

    def publish(self, address: str, body: bytes) -> None:
        self.sent.append((address, decode_replies(body)))

    def state(self) -> BrokerState:
        return BrokerState.OPEN if self.is_open else BrokerState.SLOW

    def outbox(self) -> ReplyOutbox:
        return ReplyOutbox(self.publish, self.state, on_unread=self.unread.extend)


async def test_one_turn_is_one_batch_for_each_address() -> None:
    way = _Way()
    outbox = way.outbox()
    streams = [outbox.open(f"a{n % 2}", request_id=f"r{n}", attempt=1) for n in range(4)]
    for stream in streams:
        stream.write([SequenceDelta(0, "x")])
    outbox.send("a0", AttemptQuery("q", "w"))
    await outbox.wait_empty()
    assert [(address, len(items)) for address, items in way.sent] == [("a0", 3), ("a1", 2)]


async def test_offsets_count_events() -> None:
    way = _Way()
    outbox = way.outbox()
    stream = outbox.open("a", request_id="r", attempt=2)
    stream.write([SequenceStarted(0), SequenceDelta(0, "x")])
    await outbox.wait_empty()
    stream.write([SequenceDelta(0, "y")])
    await outbox.wait_empty()
    chunks = [item for _, items in way.sent for item in items]
    assert chunks == [
        StreamChunk("r", 2, 0, (SequenceStarted(0), SequenceDelta(0, "x"))),
        StreamChunk("r", 2, 2, (SequenceDelta(0, "y"),)),
    ]


async def test_while_the_way_is_closed_text_is_kept_and_steps_are_merged() -> None:
    way = _Way()
    way.is_open = False
    outbox = way.outbox()
    stream = outbox.open("a", request_id="r", attempt=1)
    for number in range(10_000):
        stream.write([SequenceDelta(0, f"{number} ")])
    await asyncio.sleep(0)
    assert way.sent == []
    way.is_open = True
    await outbox.wait_empty()
    ((_, (chunk,)),) = way.sent
    assert isinstance(chunk, StreamChunk)
    assert len(chunk.events) <= 65
    text = "".join(event.text for event in chunk.events if isinstance(event, SequenceDelta))
    assert text == "".join(f"{number} " for number in range(10_000))


async def test_a_question_that_nobody_reads_ends_for_whoever_asked() -> None:
    way = _Way()
    outbox = ReplyOutbox(way.publish, way.state, on_unread=way.unread.extend, unread_seconds=0.0)
    outbox.take_back("a", [AttemptQuery("r", "w")])
    await outbox.wait_empty()
    assert way.unread == ["r"]


async def test_a_scheduler_that_connects_again_has_a_moment_to_read_a_question() -> None:
    way = _Way()
    outbox = ReplyOutbox(way.publish, way.state, on_unread=way.unread.extend, unread_seconds=60.0)
    outbox.take_back("a", [AttemptQuery("r", "w")])
    await outbox.wait_empty()
    assert way.sent == [("a", [AttemptQuery("r", "w")])]
    assert way.unread == []


class _DeadEnd(_Way):
    """A way out on which nobody reads some addresses."""

    def __init__(self, *dead: str) -> None:
        super().__init__()
        self.dead = set(dead)
        self.box = self.outbox()

    def publish(self, address: str, body: bytes) -> None:
        super().publish(address, body)
        if address in self.dead:
            self.box.take_back(address, decode_replies(body))

    async def until_unread(self) -> None:
        async with asyncio.timeout(5):
            while not self.unread:  # noqa: ASYNC110 - it is the outbox that takes its turns
                await asyncio.sleep(0)


async def test_what_is_retained_is_held_while_nobody_reads_it_and_told_whole_to_who_comes() -> None:
    way = _DeadEnd("dead")
    stream = way.box.open("dead", request_id="r", attempt=2, is_retained=True)
    stream.write([SequenceStarted(0), SequenceDelta(0, "a")])
    await way.until_unread()
    way.sent.clear()
    for _ in range(1000):
        stream.write([SequenceDelta(0, "b")])
    stream.close()
    await way.box.wait_empty()
    heard = TaskOwner().start(way.box.wait_heard("r"), name="heard")
    await asyncio.sleep(0)
    assert way.sent == []
    assert not heard.done()
    way.box.redirect("r", "alive")
    await heard
    await way.box.wait_empty()
    ((address, (chunk,)),) = way.sent
    assert address == "alive"
    assert isinstance(chunk, StreamChunk)
    assert (chunk.attempt, chunk.retells, chunk.events[0]) == (2, True, SequenceStarted(0))
    assert "".join(event.text for event in chunk.events if isinstance(event, SequenceDelta)) == "a" + "b" * 1000


async def test_what_is_not_retained_goes_nowhere_else() -> None:
    way = _DeadEnd("dead")
    stream = way.box.open("dead", request_id="r", attempt=1)
    stream.write([SequenceDelta(0, "a")])
    await way.until_unread()
    way.sent.clear()
    way.box.redirect("r", "alive")
    await way.box.wait_empty()
    assert way.unread == ["r"]
    assert way.sent == []
    await way.box.wait_heard("r")


async def test_what_has_not_ended_is_known_with_its_attempt_and_its_newest_address() -> None:
    outbox = _Way().outbox()
    outbox.open("a", request_id="r1", attempt=2)
    outbox.open("a", request_id="r2", attempt=1, is_retained=True)
    outbox.open("a", request_id="r3", attempt=1).close()
    outbox.redirect("r2", "b")
    assert outbox.list_running() == [("a", "r1", 2), ("b", "r2", 1)]
