"""The door of a scheduler: what is refused, and what the client is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.scheduler import drain
from headrace.scheduler.base import Submission
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import AttemptRunning
from headrace.schema.names import Lane
from headrace.schema.settings import SchedulerSettings
from headrace.transport.base import QueueDepth
from tests.support.recorders import Recorder
from tests.support.transports import RecordingSchedulerTransport
from tests.support.values import make_request


class _Observer(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.refused: list[str] = []
        self.estimates: list[float] = []

    def wait_began(self, deployment: str, lane: Lane) -> None:
        self.waiting += 1

    def wait_ended(self, deployment: str, lane: Lane) -> None:
        self.waiting -= 1

    def wait_estimated(self, deployment: str, lane: Lane, seconds: float) -> None:
        self.estimates.append(seconds)
        self.changed()

    def task_copied(self, deployment: str, lane: Lane) -> None:
        raise AssertionError("nothing waits for so long here")

    def request_refused(self, deployment: str, reason: str) -> None:
        self.refused.append(reason)


@pytest.fixture
def transport() -> RecordingSchedulerTransport:
    return RecordingSchedulerTransport()


@pytest.fixture
def observer() -> _Observer:
    return _Observer()


@pytest.fixture
async def scheduler(transport: RecordingSchedulerTransport, observer: _Observer) -> AsyncIterator[Scheduler]:
    settings = SchedulerSettings(max_waiting=50, max_wait_seconds=0.5, max_in_flight=40)
    scheduler = Scheduler(transport, models={"m": "m"}, settings=settings, queue_observers=[observer])
    await scheduler.start()
    yield scheduler
    await scheduler.close()


async def _submit(scheduler: Scheduler, name: str, **options: object) -> None:
    await scheduler.submit(Submission(request_id=name, request=make_request(), **options))  # pyright: ignore[reportArgumentType]


async def _refusal(scheduler: Scheduler, **options: object) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught:
        await _submit(scheduler, "refused", **options)
    assert caught.value.code == ErrorCode.OVERLOADED
    return caught.value


async def test_a_cold_start_takes_what_comes(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    for number in range(40):
        await _submit(scheduler, f"r{number}")
    assert observer.waiting == 40
    assert transport.measured == 1


async def test_those_of_other_gateways_fill_the_queue_too(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    transport.depth = QueueDepth(49, 2)
    await _submit(scheduler, "r")
    # Those of the others are as they were a moment ago, ours are as they are.
    assert (await _refusal(scheduler)).retry_after_seconds is None
    assert observer.refused == ["max_waiting"]


async def test_those_who_left_the_queue_are_not_taken_for_others(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    for number in range(39):
        await _submit(scheduler, f"r{number}")
    for number in range(39):
        scheduler.cancel(f"r{number}")
    # Their messages are still in the queue, and go as soon as a worker looks at them.
    transport.depth = QueueDepth(59, 1)
    await asyncio.sleep(1.0)
    for number in range(30):
        await _submit(scheduler, f"s{number}")


async def test_what_this_gateway_has_no_room_for_is_refused(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    for number in range(40):
        await _submit(scheduler, f"r{number}")
    assert (await _refusal(scheduler)).retry_after_seconds is None
    assert observer.refused == ["max_in_flight"]


async def test_a_wait_that_is_too_long_is_refused_with_the_time_until_it_is_not(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    for number in range(38):
        await _submit(scheduler, f"r{number}")
    scheduler.receive_replies([AttemptRunning("r0", 1, "w")])
    await asyncio.sleep(drain.SETTLE_SECONDS)
    for number in range(1, 9):
        await asyncio.sleep(0.13)
        scheduler.receive_replies([AttemptRunning(f"r{number}", 1, "w")])
    # Some thirty wait, at less than eight a second: more than three seconds, where half a second may be.
    assert 3.0 < ((await _refusal(scheduler)).retry_after_seconds or 0.0) < 30.0
    await _submit(scheduler, "urgent", priority=9)
    # The batch lane waits for as long as it has to, and its deadline is far.
    await _submit(scheduler, "batch", lane="batch")
    assert observer.refused == ["max_wait"]
    await observer.until(lambda: bool(observer.estimates))
    assert observer.estimates[-1] > 0.2


async def test_a_wait_beyond_the_deadline_is_refused_whatever_the_settings(
    transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    scheduler = Scheduler(transport, models={"m": "m"}, settings=SchedulerSettings(), queue_observers=[observer])
    await scheduler.start()
    for number in range(30):
        await _submit(scheduler, f"r{number}")
    scheduler.receive_replies([AttemptRunning("r0", 1, "w")])
    await asyncio.sleep(drain.SETTLE_SECONDS + drain.LEAST_SECONDS)
    for number in range(1, 5):
        scheduler.receive_replies([AttemptRunning(f"r{number}", 1, "w")])
    assert (await _refusal(scheduler, timeout_seconds=0.1)).retry_after_seconds
    await _submit(scheduler, "patient")
    assert observer.refused == ["deadline"]
    await scheduler.close()
    assert observer.waiting == 0
