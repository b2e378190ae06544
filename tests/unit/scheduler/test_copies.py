"""A request that waits for long is published once more, higher, and still runs once."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from headrace.scheduler.base import Submission
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.control import AttemptGranted, AttemptRefused, CancelGeneration, ConfirmAttempt
from headrace.schema.events import (
    AttemptQuery,
    AttemptRunning,
    GenerationFinished,
    GenerationStarted,
    SequenceStarted,
    Usage,
)
from headrace.schema.levels import CLASSIC_LEVELS
from headrace.schema.settings import SchedulerSettings
from tests.support.transports import RecordingSchedulerTransport
from tests.support.values import make_request

AGEING_SECONDS = 0.04


@pytest.fixture
def transport() -> RecordingSchedulerTransport:
    return RecordingSchedulerTransport()


@pytest.fixture
async def scheduler(transport: RecordingSchedulerTransport) -> AsyncIterator[Scheduler]:
    settings = SchedulerSettings(ageing_seconds=AGEING_SECONDS, batch_ageing_seconds=3 * AGEING_SECONDS)
    scheduler = Scheduler(transport, models={"m": "m"}, settings=settings)
    await scheduler.start()
    yield scheduler
    await scheduler.close()


Ask = Callable[[int, str], None]


@pytest.fixture
def ask(scheduler: Scheduler) -> Ask:
    """A worker was handed a copy of the task, and asks."""
    return lambda copy, worker_id: scheduler.receive_replies([AttemptQuery("r", worker_id, copy)])


def _submission(priority: int = 5, **options: object) -> Submission:
    return Submission(request_id="r", request=make_request(), priority=priority, **options)  # pyright: ignore[reportArgumentType]


async def test_one_that_waits_goes_up_until_it_is_at_the_top(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission(priority=2))
    await transport.until(lambda: len(transport.tasks) == 4)
    await asyncio.sleep(2 * AGEING_SECONDS)
    assert [(task.copy, task.is_repeat, task.priority) for task in transport.tasks] == [
        (0, False, 2),
        (1, True, 2),
        (2, True, 2),
        (3, True, 2),
    ]
    assert transport.levels == [CLASSIC_LEVELS.level_of(priority, 7) for priority in (2, 5, 8, 9)]
    first = transport.tasks[0]
    assert first.submitted_at < first.ask_after < first.submitted_at + AGEING_SECONDS


async def test_the_batch_lane_goes_over_to_the_online_lane_at_the_bottom(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission(priority=9, lane="batch"))
    await transport.until(lambda: len(transport.tasks) == 3)
    assert [task.lane for task in transport.tasks] == ["batch", "online", "online"]
    assert transport.levels[1:] == [CLASSIC_LEVELS.level_of(priority, 7) for priority in (0, 3)]


async def test_what_a_worker_has_goes_up_no_more(scheduler: Scheduler, transport: RecordingSchedulerTransport) -> None:
    await scheduler.submit(_submission())
    scheduler.receive_replies([AttemptRunning("r", 1, "w1")])
    await asyncio.sleep(3 * AGEING_SECONDS)
    assert len(transport.tasks) == 1


async def test_what_is_at_the_top_is_never_copied_and_asks_nobody(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission(priority=9))
    await asyncio.sleep(3 * AGEING_SECONDS)
    assert [task.ask_after for task in transport.tasks] == [0.0]


async def test_whichever_message_is_picked_up_first_runs_and_the_others_are_dropped_at_once(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, ask: Ask
) -> None:
    await scheduler.submit(_submission(priority=2))
    await transport.until(lambda: len(transport.tasks) == 3)
    ask(1, "w1")
    assert transport.controls == [(AttemptGranted("r", 2), "", "w1")]
    ask(0, "w2")
    ask(2, "w3")
    ask(2, "w1")
    assert transport.controls[1:] == [(AttemptRefused("r"), "", worker_id) for worker_id in ("w2", "w3", "w1")]


async def test_a_copy_is_dropped_while_the_first_message_runs(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, ask: Ask
) -> None:
    await scheduler.submit(_submission())
    await transport.until(lambda: len(transport.tasks) == 2)
    # The first message was picked up a moment before the copy was made, and its start is not here yet.
    scheduler.receive_replies([AttemptRunning("r", 1, "w1")])
    ask(1, "w2")
    assert transport.controls == [(AttemptRefused("r"), "", "w2")]
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0))
    ask(1, "w3")
    assert transport.controls[1:] == [(AttemptRefused("r"), "", "w3")]


async def test_a_redelivery_of_what_runs_still_has_its_worker_asked(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, ask: Ask
) -> None:
    await scheduler.submit(_submission())
    await transport.until(lambda: len(transport.tasks) == 2)
    ask(1, "w1")
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0), attempt=2)
    ask(1, "w2")
    assert transport.controls[1:] == [(ConfirmAttempt("r", 2), "", "w1")]
    scheduler.lose_worker("w1")
    assert transport.controls[-1] == (AttemptGranted("r", 3), "", "w2")
    ask(0, "w3")
    assert transport.controls[-1] == (AttemptRefused("r"), "", "w3")


async def test_to_have_waited_for_long_counts_as_no_lost_worker(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, ask: Ask
) -> None:
    await scheduler.submit(_submission())
    await transport.until(lambda: len(transport.tasks) == 2)
    ask(1, "w1")
    for number in (2, 3):
        ask(1, f"w{number}")
        scheduler.lose_worker(f"w{number - 1}")
        assert transport.controls[-1] == (AttemptGranted("r", number + 1), "", f"w{number}")
    ask(1, "w4")
    scheduler.lose_worker("w3")
    assert scheduler.in_flight == 0
    refused = transport.controls[-1][0]
    assert isinstance(refused, AttemptRefused)
    assert refused.dead_letter.startswith("3 workers were lost")
    # One of its messages becomes the dead letter, whoever asks for it; the others are dropped.
    ask(0, "w5")
    assert transport.controls[-1] == (AttemptRefused("r"), "", "w5")
    ask(1, "w6")
    assert transport.controls[-1] == (refused, "", "w6")


async def test_a_worker_that_picked_it_up_unasked_and_too_late_is_stopped_before_it_starts(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, ask: Ask
) -> None:
    await scheduler.submit(_submission())
    await transport.until(lambda: len(transport.tasks) == 2)
    ask(1, "w2")
    scheduler.receive_replies([AttemptRunning("r", 1, "w1")])
    message, _, worker_id = transport.controls[-1]
    assert isinstance(message, CancelGeneration)
    assert (message.up_to_attempt, worker_id) == (1, "w1")


async def test_what_is_left_of_a_request_that_has_ended_is_dropped(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, ask: Ask
) -> None:
    await scheduler.submit(_submission())
    await transport.until(lambda: len(transport.tasks) == 2)
    ask(1, "w1")
    transport.reply("r", 0, GenerationStarted("w1"), GenerationFinished(Usage(1, 1)), attempt=2)
    assert scheduler.in_flight == 0
    ask(0, "w2")
    assert transport.controls[-1] == (AttemptRefused("r"), "", "w2")
    scheduler.receive_replies([AttemptRunning("r", 1, "w3")])
    assert isinstance(transport.controls[-1][0], CancelGeneration)


async def test_a_copy_that_the_broker_refuses_harms_nobody(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission())
    await transport.until(lambda: len(transport.tasks) == 2)
    scheduler.reject_task("r", "the broker refused the task")
    assert scheduler.in_flight == 1
