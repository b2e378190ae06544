"""The scheduler answers for every request that it accepted."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.scheduler.base import Generation, Submission
from headrace.scheduler.observer import GenerationEnded
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.control import AttemptGranted, AttemptRefused, CancelGeneration
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    AttemptQuery,
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import SchedulerSettings
from tests.support.transports import RecordingSchedulerTransport
from tests.support.values import make_request


class _Observer:
    def __init__(self) -> None:
        self.accepted = 0
        self.ended: list[GenerationEnded] = []
        self.attempts = 0

    def generation_accepted(self, model: str) -> None:
        self.accepted += 1

    def generation_ended(self, fact: GenerationEnded) -> None:
        self.ended.append(fact)

    def attempt_opened(self, model: str) -> None:
        self.attempts += 1


@pytest.fixture
def transport() -> RecordingSchedulerTransport:
    return RecordingSchedulerTransport()


@pytest.fixture
def observer() -> _Observer:
    return _Observer()


@pytest.fixture
async def scheduler(transport: RecordingSchedulerTransport, observer: _Observer) -> AsyncIterator[Scheduler]:
    settings = SchedulerSettings(publish_wait_seconds=0.05, max_in_flight=2, default_priority=4)
    scheduler = Scheduler(transport, models={"m": "m"}, settings=settings, observers=[observer])
    await scheduler.start()
    yield scheduler
    await scheduler.close()


def _submission(request_id: str = "r", **options: float) -> Submission:
    return Submission(request_id=request_id, request=make_request(), **options)  # pyright: ignore[reportArgumentType]


async def _read(generation: Generation) -> list[Event]:
    async with asyncio.timeout(5):
        return [event async for batch in generation for event in batch]


def _failure(events: list[Event]) -> GenerationFailed:
    assert isinstance(events[-1], GenerationFailed)
    return events[-1]


async def test_a_request_becomes_a_task_with_everything_on_it(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission(priority=9, timeout_seconds=30))
    (task,) = transport.tasks
    assert (task.request_id, task.reply_address, task.priority) == ("r", "reply.1", 9)
    assert task.deadline == pytest.approx(task.submitted_at + 30)
    await scheduler.submit(_submission("s"))
    assert transport.tasks[1].priority == 4


async def test_events_reach_the_reader_and_the_facts_the_observer(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w"), SequenceStarted(0), SequenceDelta(0, "hi"))
    transport.reply("r", 3, SequenceFinished(0, "stop"), GenerationFinished(Usage(1, 1)))
    assert len(await _read(generation)) == 5
    await generation.aclose()
    assert transport.controls == []
    assert scheduler.in_flight == 0
    assert [fact.outcome for fact in observer.ended] == ["finished"]


@pytest.mark.parametrize(
    ("request_", "code", "param"),
    [
        (make_request("other"), ErrorCode.MODEL_NOT_FOUND, "model"),
        (ChatCompletionRequest(model="m", messages=(Message("user", ""),)), ErrorCode.INVALID_REQUEST, "messages"),
    ],
)
async def test_what_can_not_be_run_is_refused(
    scheduler: Scheduler, request_: ChatCompletionRequest, code: ErrorCode, param: str
) -> None:
    with pytest.raises(HeadraceError) as caught:
        await scheduler.submit(Submission(request_id="r", request=request_))
    assert (caught.value.code, caught.value.param) == (code, param)


async def test_more_than_the_limit_is_refused(scheduler: Scheduler) -> None:
    await scheduler.submit(_submission("a"))
    await scheduler.submit(_submission("b"))
    with pytest.raises(HeadraceError) as caught:
        await scheduler.submit(_submission("c"))
    assert caught.value.code == ErrorCode.OVERLOADED


async def test_an_id_that_runs_is_not_taken_twice(scheduler: Scheduler) -> None:
    await scheduler.submit(_submission())
    with pytest.raises(HeadraceError) as caught:
        await scheduler.submit(_submission())
    assert caught.value.code == ErrorCode.CONFLICT


async def test_a_reader_that_leaves_cancels_everywhere_before_a_worker_is_known(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    await generation.aclose()
    deadline = transport.tasks[0].deadline
    assert transport.controls == [(CancelGeneration("r", deadline), "m", None)]


async def test_a_reader_that_leaves_cancels_at_the_worker_that_runs_it(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w"), SequenceStarted(0))
    await generation.aclose()
    await generation.aclose()
    assert [worker_id for _, _, worker_id in transport.controls] == ["w"]


async def test_a_cancel_gives_the_reader_its_terminal_event(scheduler: Scheduler) -> None:
    generation = await scheduler.submit(_submission())
    assert scheduler.cancel("r")
    assert _failure(await _read(generation)).code == ErrorCode.CANCELLED
    assert not scheduler.cancel("r")


async def test_what_starts_after_nobody_waits_is_stopped_at_its_worker(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    transport.reply("gone", 0, GenerationStarted("w"))
    transport.reply("gone", 1, SequenceDelta(0, "x"))
    ((message, _, worker_id),) = transport.controls
    assert isinstance(message, CancelGeneration)
    assert (message.request_id, worker_id) == ("gone", "w")


async def test_a_request_without_any_worker_ends_at_its_deadline(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission(timeout_seconds=0.05))
    failure = _failure(await _read(generation))
    assert (failure.code, failure.stage, failure.retryable) == (ErrorCode.DEADLINE_EXCEEDED, "queue", True)
    assert isinstance(transport.controls[0][0], CancelGeneration)


async def test_a_task_that_the_broker_refuses_fails_its_request(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    scheduler.reject_task("r", "the broker refused the task")
    assert _failure(await _read(generation)).code == ErrorCode.BROKER_UNAVAILABLE


async def test_a_lost_reply_path_fails_what_waited_on_it_and_nothing_later(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    before = await scheduler.submit(_submission("before"))
    transport.disconnect()
    assert _failure(await _read(before)).code == ErrorCode.BROKER_UNAVAILABLE
    with pytest.raises(HeadraceError) as caught:
        await scheduler.submit(_submission("during"))
    assert caught.value.code == ErrorCode.BROKER_UNAVAILABLE
    with pytest.raises(HeadraceError):
        await scheduler.check()
    transport.connect("reply.2")
    await scheduler.submit(_submission("after"))
    assert transport.tasks[-1].reply_address == "reply.2"


async def test_a_submit_waits_for_a_connection_that_comes_back(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    transport.disconnect()
    async with asyncio.TaskGroup() as group:
        submitting = group.create_task(scheduler.submit(_submission()))
        await asyncio.sleep(0)
        transport.connect("reply.2")
    assert submitting.result().request_id == "r"


async def test_a_redelivered_task_without_text_runs_as_the_next_attempt(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0))
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    cancelled, granted = transport.controls
    assert isinstance(cancelled[0], CancelGeneration)
    assert (cancelled[0].up_to_attempt, cancelled[2]) == (1, "w1")
    assert granted == (AttemptGranted("r", 2), "", "w2")
    transport.reply("r", 2, SequenceDelta(0, "from the first"))
    transport.reply("r", 0, GenerationStarted("w2"), SequenceStarted(0), SequenceDelta(0, "x"), attempt=2)
    transport.reply("r", 3, SequenceFinished(0, "stop"), GenerationFinished(Usage(1, 1)), attempt=2)
    events = await _read(generation)
    assert [event.text for event in events if isinstance(event, SequenceDelta)] == ["x"]
    assert observer.attempts == 1
    assert observer.ended[0].attempts == 2


async def test_a_redelivered_task_with_text_fails_and_is_never_spliced(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0), SequenceDelta(0, "half"))
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    failure = _failure(await _read(generation))
    assert (failure.code, failure.retryable) == (ErrorCode.WORKER_LOST, True)
    assert transport.controls[-1] == (AttemptRefused("r"), "", "w2")


async def test_a_worker_that_asks_again_is_given_the_same_attempt(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    await scheduler.submit(_submission())
    scheduler.receive_replies([AttemptQuery("r", "w2"), AttemptQuery("r", "w2")])
    assert transport.controls == [(AttemptGranted("r", 2), "", "w2")] * 2
    assert observer.attempts == 1


async def test_a_request_that_loses_worker_after_worker_is_given_up(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    scheduler.receive_replies([AttemptQuery("r", "w2"), AttemptQuery("r", "w3"), AttemptQuery("r", "w4")])
    assert [message for message, _, _ in transport.controls[:2]] == [AttemptGranted("r", 2), AttemptGranted("r", 3)]
    assert transport.controls[-1] == (AttemptRefused("r"), "", "w4")
    assert _failure(await _read(generation)).code == ErrorCode.WORKER_LOST


async def test_a_hole_in_the_stream_stops_the_worker(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w"), SequenceStarted(0))
    transport.reply("r", 5, SequenceDelta(0, "late"))
    assert _failure(await _read(generation)).code == ErrorCode.STREAM_BROKEN
    ((message, _, worker_id),) = transport.controls
    assert isinstance(message, CancelGeneration)
    assert worker_id == "w"


async def test_a_redelivered_task_that_has_ended_is_refused(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    scheduler.receive_replies([AttemptQuery("long ago", "w2")])
    assert transport.controls == [(AttemptRefused("long ago"), "", "w2")]


async def test_closing_ends_every_stream_with_an_event(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    await scheduler.close()
    assert _failure(await _read(generation)).code == ErrorCode.SHUTTING_DOWN
    with pytest.raises(HeadraceError) as caught:
        await scheduler.submit(_submission("later"))
    assert caught.value.code == ErrorCode.SHUTTING_DOWN
