"""Chunks that lie in the object store, as a scheduler takes them."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from headrace.scheduler.base import Generation, Submission
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.codec import encode_replies
from headrace.schema.control import CancelGeneration
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    StoredChunk,
    StreamChunk,
    Usage,
)
from headrace.schema.payload import PayloadRef
from headrace.schema.settings import ObjectSettings, SchedulerSettings
from headrace.transport.objects import PayloadStore
from tests.support.objects import MemoryObjects
from tests.support.transports import RecordingSchedulerTransport
from tests.support.values import make_request

BEGIN = (GenerationStarted("w"), SequenceStarted(0), SequenceDelta(0, "large ", (1,)))
END = (SequenceDelta(0, "small", (2,)), SequenceFinished(0, "stop"), GenerationFinished(Usage(1, 2)))


class Rig:
    def __init__(self, *, has_store: bool = True) -> None:
        self.objects = MemoryObjects()
        self.payloads = PayloadStore(self.objects)
        self.transport = RecordingSchedulerTransport()
        self.scheduler = Scheduler(
            self.transport,
            models={"m": "m"},
            settings=SchedulerSettings(),
            large=LargeRequests(self.payloads, ObjectSettings()) if has_store else None,
        )

    async def submit(self) -> Generation:
        await self.scheduler.start()
        return await self.scheduler.submit(Submission(request_id="r", request=make_request("m")))

    async def store(self, *events: Event, attempt: int = 1) -> StoredChunk:
        body = encode_replies([StreamChunk("r", attempt, 0, events)])
        return StoredChunk("r", attempt, await self.payloads.save("replies/r/1", body))

    def receive(self, *items: StoredChunk | StreamChunk) -> None:
        self.scheduler.receive_replies(items)


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.scheduler.close()


async def read(generation: Generation) -> Sequence[Event]:
    async with asyncio.timeout(10):
        return [event async for batch in generation for event in batch]


def text_of(events: Sequence[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, SequenceDelta))


async def test_what_follows_waits_for_it_and_nothing_is_left(rig: Rig) -> None:
    generation = await rig.submit()
    stored = await rig.store(*BEGIN)
    rig.objects.opened.clear()
    rig.receive(stored)
    rig.receive(StreamChunk("r", 1, 3, END))
    rig.objects.opened.set()
    events = await read(generation)
    assert text_of(events) == "large small"
    assert isinstance(events[-1], GenerationFinished)
    assert not [message for message, _, _ in rig.transport.controls], "nothing was missing"
    await rig.objects.until(lambda: not rig.objects.kept)


async def test_one_that_comes_twice_is_told_once(rig: Rig) -> None:
    generation = await rig.submit()
    first = await rig.store(*BEGIN)
    rig.receive(first, StreamChunk("r", 1, 0, BEGIN), StreamChunk("r", 1, 3, END))
    assert text_of(await read(generation)) == "large small"


@pytest.mark.parametrize("altered", [None, b"something else", b""])
async def test_one_that_is_gone_or_altered_is_an_error_event_and_stops_the_worker(
    rig: Rig, altered: bytes | None
) -> None:
    generation = await rig.submit()
    stored = await rig.store(*BEGIN)
    del rig.objects.kept[stored.payload.key]
    if altered is not None:
        rig.objects.kept[stored.payload.key] = altered
    rig.receive(stored, StreamChunk("r", 1, 3, END))
    failure = (await read(generation))[-1]
    assert isinstance(failure, GenerationFailed)
    assert (failure.code, failure.retryable) == (ErrorCode.PAYLOAD_LOST, True)
    assert any(isinstance(message, CancelGeneration) for message, _, _ in rig.transport.controls)


async def test_one_with_another_content_than_its_own_is_refused(rig: Rig) -> None:
    generation = await rig.submit()
    body = encode_replies([StreamChunk("somebody else", 1, 0, BEGIN)])
    rig.receive(StoredChunk("r", 1, await rig.payloads.save("replies/r/1", body)))
    failure = (await read(generation))[-1]
    assert isinstance(failure, GenerationFailed)
    assert failure.code == ErrorCode.PAYLOAD_LOST


async def test_a_store_that_fails_for_a_moment_is_tried_again(rig: Rig) -> None:
    generation = await rig.submit()
    stored = await rig.store(*BEGIN, *END)
    rig.objects.failures = 2
    rig.receive(stored)
    assert text_of(await read(generation)) == "large small"


async def test_one_that_nobody_waits_for_is_removed(rig: Rig) -> None:
    await rig.scheduler.start()
    rig.receive(await rig.store(*BEGIN))
    await rig.objects.until(lambda: not rig.objects.kept)


async def test_a_gateway_without_the_store_says_so() -> None:
    rig = Rig(has_store=False)
    generation = await rig.submit()
    rig.receive(StoredChunk("r", 1, PayloadRef(key="k", size_bytes=1, sha256="0" * 64)))
    failure = (await read(generation))[-1]
    assert isinstance(failure, GenerationFailed)
    assert failure.code == ErrorCode.PAYLOAD_LOST
    assert "this gateway does not know" in failure.message
    await rig.scheduler.close()
