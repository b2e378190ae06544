"""The task of an adopted generation of which no worker says anything is published again, and still runs once."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec import structs

from headrace.scheduler.base import Adoption, Generation, GenerationRecord, Submission
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.caller import Caller
from headrace.schema.control import (
    AttemptGranted,
    AttemptRefused,
    CancelGeneration,
    ConfirmAttempt,
    ControlMessage,
    ToldSequence,
)
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    AttemptQuery,
    AttemptRunning,
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.settings import ObjectSettings, SchedulerSettings
from headrace.transport.objects import FileObjectStore, PayloadStore
from tests.support.transports import RecordingSchedulerTransport
from tests.support.values import make_request

SILENT_SECONDS = 0.05
TOLD: tuple[Event, ...] = (
    GenerationStarted("w", 3),
    SequenceStarted(0),
    SequenceDelta(0, "one ", (1,)),
    SequenceDelta(0, "two ", (2,)),
)
REST: tuple[Event, ...] = (SequenceFinished(0, "stop"), GenerationFinished(Usage(3, 3)))
WHOLE: tuple[Event, ...] = (*TOLD[:2], SequenceDelta(0, "one two three", (1, 2, 3)), *REST)


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def transport() -> RecordingSchedulerTransport:
    return RecordingSchedulerTransport()


def make_scheduler(
    transport: RecordingSchedulerTransport, clock: Clock, *, large: LargeRequests | None = None
) -> Scheduler:
    return Scheduler(
        transport,
        models={"m": "m"},
        settings=SchedulerSettings(),
        clock=clock,
        silent_seconds=SILENT_SECONDS,
        large=large,
    )


@pytest.fixture
async def scheduler(transport: RecordingSchedulerTransport, clock: Clock) -> AsyncIterator[Scheduler]:
    scheduler = make_scheduler(transport, clock)
    await scheduler.start()
    yield scheduler
    await scheduler.close()


def _adoption(*told: Event, attempts: int = 1, request_id: str = "r") -> Adoption:
    return Adoption(
        submission=Submission(
            request_id=request_id,
            request=make_request(),
            priority=3,
            caller=Caller(tenant_id="t"),
            retained=True,
        ),
        submitted_at=998.0,
        deadline=1050.0,
        events=told,
        record=GenerationRecord(attempts=attempts),
    )


async def _read(generation: Generation) -> list[Event]:
    async with asyncio.timeout(5):
        return [event async for batch in generation for event in batch]


async def _published(transport: RecordingSchedulerTransport, count: int = 1) -> int:
    """Wait for the last of so many copies, and return its number."""
    await transport.until(lambda: len(transport.tasks) >= count)
    return transport.tasks[count - 1].copy


def _said(transport: RecordingSchedulerTransport, worker_id: str) -> list[ControlMessage]:
    return [message for message, _, to in transport.controls if to == worker_id]


async def _let_pass(silences: float = 3.0) -> None:
    await asyncio.sleep(silences * SILENT_SECONDS)


async def test_what_no_worker_speaks_of_is_published_again_and_goes_on_where_it_stood(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD))
    copy = await _published(transport)
    task = transport.tasks[0]
    assert (task.request_id, task.deployment, task.request.model) == ("r", "", "m")
    assert (task.is_repeat, task.retained, task.reply_address) == (True, True, "replica")
    assert (task.submitted_at, task.deadline, task.priority, task.tenant) == (998.0, 1050.0, 3, "t")
    scheduler.receive_replies([AttemptQuery("r", "w2", copy)])
    assert _said(transport, "w") == [ConfirmAttempt("r", 1)]
    scheduler.lose_worker("w")
    assert _said(transport, "w2") == [AttemptGranted("r", 2, (ToldSequence(0, (1, 2)),))]
    transport.reply("r", 0, *WHOLE, attempt=2)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]
    assert (generation.record.attempts, generation.record.usage) == (2, Usage(3, 3))


async def test_one_that_never_came_into_the_queue_begins(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption())
    copy = await _published(transport)
    scheduler.receive_replies([AttemptQuery("r", "w2", copy)])
    assert _said(transport, "w2") == [AttemptGranted("r", 2)]
    transport.reply("r", 0, *WHOLE, attempt=2)
    assert await _read(generation) == list(WHOLE)


async def test_beside_a_first_message_that_waited_the_copy_is_refused(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption())
    copy = await _published(transport)
    scheduler.receive_replies([AttemptQuery("r", "w1")])
    assert _said(transport, "w1") == [AttemptGranted("r", 2)]
    scheduler.receive_replies([AttemptQuery("r", "w2", copy)])
    assert _said(transport, "w2") == [AttemptRefused("r")]
    transport.reply("r", 0, *WHOLE, attempt=2)
    assert await _read(generation) == list(WHOLE)


async def test_beside_the_copy_a_first_message_that_waited_is_refused(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.adopt(_adoption())
    copy = await _published(transport)
    scheduler.receive_replies([AttemptQuery("r", "w2", copy), AttemptQuery("r", "w1")])
    assert _said(transport, "w2") == [AttemptGranted("r", 2)]
    assert _said(transport, "w1") == [AttemptRefused("r")]


async def test_a_worker_that_began_unasked_and_is_late_to_say_so_runs_on_and_the_copy_is_refused(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD))
    copy = await _published(transport)
    scheduler.receive_replies([AttemptRunning("r", 1, "w")])
    scheduler.receive_replies([AttemptQuery("r", "w2", copy)])
    assert _said(transport, "w2") == [AttemptRefused("r")]
    transport.reply("r", 0, *WHOLE, retells=True)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]
    assert generation.record.attempts == 1


async def test_a_worker_that_speaks_after_another_was_granted_the_copy_is_fenced_off(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD))
    copy = await _published(transport)
    scheduler.receive_replies([AttemptQuery("r", "w2", copy)])
    granted = AttemptGranted("r", 2, (ToldSequence(0, (1, 2)),))
    await transport.until(lambda: granted in _said(transport, "w2"))
    scheduler.receive_replies([AttemptRunning("r", 1, "w")])
    assert _said(transport, "w")[-1] == CancelGeneration("r", 1050.0, up_to_attempt=1)
    transport.reply("r", 9, *TOLD, SequenceDelta(0, "four", (4,)), retells=True)
    transport.reply("r", 0, *WHOLE, attempt=2)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]


async def test_a_worker_that_speaks_is_not_silent(scheduler: Scheduler, transport: RecordingSchedulerTransport) -> None:
    await scheduler.adopt(_adoption(*TOLD))
    for _ in range(30):
        await asyncio.sleep(SILENT_SECONDS / 10)
        scheduler.receive_replies([AttemptRunning("r", 1, "w")])
    assert transport.tasks == []


async def test_what_waits_has_one_copy(scheduler: Scheduler, transport: RecordingSchedulerTransport) -> None:
    await scheduler.adopt(_adoption())
    await _published(transport)
    await _let_pass(5.0)
    assert len(transport.tasks) == 1


async def test_one_that_waits_on_goes_up(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, clock: Clock
) -> None:
    await scheduler.adopt(_adoption())
    first = await _published(transport)
    clock.now += 40.0
    assert await _published(transport, 2) > first
    low, high = transport.levels
    assert low is not None
    assert high is not None
    assert high > low


async def test_a_worker_that_falls_silent_after_it_was_heard_is_a_silence_of_its_own(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD))
    first = await _published(transport)
    # It has finished, acknowledges, and dies before anything of it arrives.
    scheduler.receive_replies([AttemptRunning("r", 1, "w")])
    second = await _published(transport, 2)
    assert second > first
    scheduler.receive_replies([AttemptQuery("r", "w2", second)])
    scheduler.lose_worker("w")
    assert _said(transport, "w2") == [AttemptGranted("r", 2, (ToldSequence(0, (1, 2)),))]
    transport.reply("r", 0, *WHOLE, attempt=2)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]


async def test_the_worker_that_has_finished_and_forgotten_it_may_run_it_again(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.adopt(_adoption(*TOLD))
    copy = await _published(transport)
    scheduler.receive_replies([AttemptQuery("r", "w", copy)])
    assert _said(transport, "w") == [AttemptGranted("r", 2, (ToldSequence(0, (1, 2)),))]


async def test_time_without_a_broker_does_not_count(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.adopt(_adoption())
    transport.disconnect()
    await _let_pass(5.0)
    assert (transport.tasks, transport.unsent) == ([], [])
    transport.connect()
    assert transport.tasks == []
    await _published(transport)


async def test_a_copy_that_the_broker_does_not_take_is_followed_by_another(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption())
    first = await _published(transport)
    scheduler.reject_task("r", "the model has no task queue")
    second = await _published(transport, 2)
    assert second > first
    scheduler.receive_replies([AttemptQuery("r", "w2", second)])
    transport.reply("r", 0, *WHOLE, attempt=2)
    assert await _read(generation) == list(WHOLE)


async def test_one_that_came_a_moment_ago_is_not_published_yet(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, clock: Clock
) -> None:
    clock.now = 998.0 + 1.5 * SILENT_SECONDS
    await scheduler.adopt(_adoption())
    await _let_pass()
    assert transport.tasks == []
    clock.now += SILENT_SECONDS
    await _published(transport)


async def test_one_whose_deadline_has_passed_is_left_to_its_end(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, clock: Clock
) -> None:
    await scheduler.adopt(_adoption())
    clock.now = 1050.0
    await _let_pass()
    assert transport.tasks == []


async def test_what_was_let_go_is_not_published(scheduler: Scheduler, transport: RecordingSchedulerTransport) -> None:
    await scheduler.adopt(_adoption())
    scheduler.let_go(["r"])
    await _let_pass()
    assert transport.tasks == []


async def test_two_gateways_after_one_another_give_their_copies_other_numbers(
    transport: RecordingSchedulerTransport, clock: Clock
) -> None:
    numbers: list[int] = []
    for _ in range(2):
        other = RecordingSchedulerTransport()
        scheduler = make_scheduler(other, clock)
        await scheduler.start()
        await scheduler.adopt(_adoption())
        numbers.append(await _published(other))
        await scheduler.close()
        clock.now += 6.0
    assert numbers[0] < numbers[1]
    assert min(numbers) > 100


async def test_it_stands_in_a_line_until_a_worker_has_it(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption())
    assert generation.queued is None
    copy = await _published(transport)
    assert generation.queued is not None
    scheduler.receive_replies([AttemptQuery("r", "w2", copy)])
    assert generation.queued is None


async def test_from_a_while_after_a_retained_request_came_workers_ask_first(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    for priority in (5, 9):
        request_id = f"r{priority}"
        await scheduler.submit(
            Submission(request_id=request_id, request=make_request(), priority=priority, retained=True)
        )
    assert [task.ask_after for task in transport.tasks] == [1008.0, 1008.0]


@pytest.mark.parametrize("takes", [True, False])
async def test_a_large_request_is_moved_once_more_or_ends_in_an_error(
    transport: RecordingSchedulerTransport, clock: Clock, tmp_path: Path, *, takes: bool
) -> None:
    folder = tmp_path / "objects"
    if not takes:
        folder.write_text("no folder")
    large = LargeRequests(PayloadStore(FileObjectStore(folder)), ObjectSettings())
    scheduler = make_scheduler(transport, clock, large=large)
    await scheduler.start()
    adoption = _adoption(*TOLD)
    request = make_request("m", "x" * 200_000)
    submission = structs.replace(adoption.submission, request=request)
    generation = await scheduler.adopt(structs.replace(adoption, submission=submission))
    if takes:
        await _published(transport)
        assert transport.tasks[0].payload is not None
        assert transport.tasks[0].request.messages == ()
    else:
        end = (await _read(generation))[-1]
        assert isinstance(end, GenerationFailed)
        assert (end.code, end.retryable) == (ErrorCode.PAYLOAD_LOST, True)
        assert transport.tasks == []
    await scheduler.close()
