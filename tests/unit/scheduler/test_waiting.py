"""A request that asks is told how many are ahead of it, until a worker has it."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from headrace.scheduler.base import Submission
from headrace.scheduler.generation import MailboxGeneration
from headrace.scheduler.line import Ticket
from headrace.scheduler.mailbox import Mailbox
from headrace.scheduler.scheduler import Scheduler
from headrace.scheduler.waiting import WaitingLines
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, OutputFlags
from headrace.schema.settings import SchedulerSettings
from tests.support.transports import RecordingSchedulerTransport
from tests.support.values import make_task

STREAM: tuple[Event, ...] = (
    GenerationStarted("w", 1),
    SequenceStarted(0),
    SequenceDelta(0, "x"),
    SequenceFinished(0, "stop"),
    GenerationFinished(Usage(1, 1)),
)


def enter(lines: WaitingLines, *, model: str = "m", priority: int = 5, asked: bool = True) -> Ticket:
    request = ChatCompletionRequest(model=model, messages=(), output=OutputFlags(queue_position=asked))
    task = structs.replace(make_task(model, priority=priority), request=request)
    return lines.enter(Mailbox("r", model=model), task, share=lines.find(model, "online").find_share("", priority))


def leave(lines: WaitingLines, ticket: Ticket) -> None:
    lines.leave(ticket, picked_up=False)


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_the_first_position_is_told_at_once() -> None:
    lines = WaitingLines()
    first, low, high = enter(lines, asked=False), enter(lines, priority=3), enter(lines, priority=9)
    other = enter(lines, model="other")
    assert [ticket.position for ticket in (low, high, other)] == [1, 0, 0]
    assert await low.mailbox.receive() == [GenerationQueued(1)]
    assert first.told is None
    for ticket in (first, low, high, other):
        leave(lines, ticket)


async def test_a_position_that_changes_is_told_once_a_second() -> None:
    lines = WaitingLines()
    ahead = [enter(lines, asked=False) for _ in range(3)]
    ticket = enter(lines)
    assert await ticket.mailbox.receive() == [GenerationQueued(3)]
    leave(lines, ahead[0])
    lines.tell(now() + 0.5)
    assert ticket.told == (3, False)
    lines.tell(now() + 1.0)
    assert await ticket.mailbox.receive() == [GenerationQueued(2)]
    leave(lines, ahead[1])
    lines.tell(now() + 1.5)
    lines.tell(now() + 2.5)
    lines.tell(now() + 4.0)
    assert await ticket.mailbox.receive() == [GenerationQueued(1)]
    enter(lines, priority=9, asked=False)
    enter(lines, priority=9, asked=False)
    lines.tell(now() + 6.0)
    assert await ticket.mailbox.receive() == [GenerationQueued(3)]
    leave(lines, ticket)


async def test_a_slow_reader_sees_the_newest_position_only() -> None:
    lines = WaitingLines()
    ahead = [enter(lines, asked=False) for _ in range(5)]
    ticket = enter(lines)
    for second, other in enumerate(ahead, start=1):
        leave(lines, other)
        lines.tell(now() + 2.0 * second)
    assert await ticket.mailbox.receive() == [GenerationQueued(0)]
    leave(lines, ticket)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans(), st.integers(0, 3)), max_size=20))
async def test_a_position_counts_those_ahead(steps: list[tuple[int, bool, int]]) -> None:
    lines = WaitingLines()
    waiting: list[Ticket] = []
    for priority, asked, leaving in steps:
        waiting.append(enter(lines, priority=priority, asked=asked))
        if leaving == 0:
            leave(lines, waiting.pop(len(waiting) // 2))
    lines.tell(now() + 10.0)
    in_order = sorted(waiting, key=lambda ticket: -ticket.priority)
    told = [(place, False) if ticket.asked else None for place, ticket in enumerate(in_order)]
    assert [ticket.told for ticket in in_order] == told
    for ticket in waiting:
        leave(lines, ticket)


@pytest.fixture
def transport() -> RecordingSchedulerTransport:
    return RecordingSchedulerTransport()


@pytest.fixture
async def scheduler(transport: RecordingSchedulerTransport) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(transport, models={"m": "m", "pirate": "m"}, settings=SchedulerSettings())
    await scheduler.start()
    yield scheduler
    await scheduler.close()


async def submit(
    scheduler: Scheduler, name: str, *, model: str = "m", priority: int = 5, asked: bool = True
) -> MailboxGeneration:
    request = ChatCompletionRequest(
        model=model, messages=(Message("user", "Hello"),), output=OutputFlags(queue_position=asked)
    )
    return await scheduler.submit(Submission(request_id=name, request=request, priority=priority))


async def read(generation: MailboxGeneration) -> list[Event]:
    return [event async for batch in generation for event in batch]


async def test_only_who_asks_is_told_and_offsets_are_undisturbed(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    silent = await submit(scheduler, "silent", asked=False)
    asking = await submit(scheduler, "asking", model="pirate")
    transport.reply("asking", 0, *STREAM[:3])
    transport.reply("asking", 3, *STREAM[3:])
    assert await read(asking) == [GenerationQueued(1), *STREAM]
    transport.reply("silent", 0, *STREAM)
    assert await read(silent) == [*STREAM]


async def test_the_queue_moves_on_when_a_worker_takes_one_and_when_one_ends(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    for name in ("taken", "cancelled", "stays"):
        await submit(scheduler, name, asked=False)
    generation = await submit(scheduler, "asking")
    assert await anext(generation) == [GenerationQueued(3)]
    transport.reply("taken", 0, *STREAM[:1])
    scheduler.cancel("cancelled")
    async with asyncio.timeout(5):
        assert await anext(generation) == [GenerationQueued(1)]


async def test_nothing_is_told_after_a_worker_took_it(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await submit(scheduler, "asking")
    transport.reply("asking", 0, *STREAM[:1])
    assert await anext(generation) == [GenerationQueued(0), STREAM[0]]
    await submit(scheduler, "above", priority=9, asked=False)
    transport.reply("asking", 1, *STREAM[1:])
    assert await read(generation) == [*STREAM[1:]]
