"""The scheduler answers for every request that it accepted."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.scheduler.base import Generation, Submission
from headrace.scheduler.observer import GenerationEnded
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.control import (
    AttemptGranted,
    AttemptRefused,
    CancelGeneration,
    ConfirmAttempt,
    ResendReplies,
    ToldSequence,
)
from headrace.schema.errors import ErrorCode, HeadraceError
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
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import SchedulerSettings
from headrace.transport.base import QueueDepth
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

    def task_republished(self, model: str) -> None:
        raise AssertionError("nothing is adopted here")

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
    scheduler = Scheduler(transport, models={"m": "m"}, settings=settings, observers=[observer], gap_seconds=0.05)
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
    assert (task.request_id, task.reply_address, task.priority) == ("r", "replica", 9)
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


@pytest.mark.parametrize(("depth", "is_lonely"), [(None, False), (QueueDepth(1, 0), True), (QueueDepth(1, 1), False)])
async def test_one_for_which_no_worker_was_ever_there_says_so(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, depth: QueueDepth | None, is_lonely: bool
) -> None:
    transport.depth = depth
    generation = await scheduler.submit(_submission(timeout_seconds=0.05))
    failure = _failure(await _read(generation))
    assert failure.code == "deadline_exceeded"
    assert ("no worker has taken work for 'm'" in failure.message) == is_lonely
    assert ("HEADRACE_WORKER_MODEL=m headrace-worker" in failure.message) == is_lonely


async def test_a_worker_that_was_there_once_is_not_said_to_have_been_never_there(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    transport.depth = QueueDepth(1, 0)
    first = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w"), GenerationFinished(Usage(1, 1)))
    await _read(first)
    second = await scheduler.submit(_submission("s", timeout_seconds=0.05))
    assert _failure(await _read(second)).message == "the request did not end before its deadline"


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


async def test_a_lost_connection_harms_nobody_and_what_was_missed_is_told_again(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w"), SequenceStarted(0), SequenceDelta(0, "one ", (1,)))
    transport.disconnect()
    with pytest.raises(HeadraceError):
        await scheduler.check()
    transport.connect()
    assert transport.controls == [(ResendReplies("r", 1), "m", "w")]
    whole = (GenerationStarted("w"), SequenceStarted(0), SequenceDelta(0, "one two ", (1, 2)))
    transport.reply("r", 4, *whole, retells=True)
    transport.reply("r", 4, SequenceFinished(0, "stop"), GenerationFinished(Usage(1, 2)))
    events = await _read(generation)
    assert [event.text for event in events if isinstance(event, SequenceDelta)] == ["one ", "two "]
    assert sum(isinstance(event, GenerationStarted | SequenceStarted) for event in events) == 2


async def test_a_request_waits_for_a_broker_that_was_lost_and_comes_back(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission("before"))
    transport.disconnect()
    await scheduler.submit(_submission("during"))
    assert [task.request_id for task in transport.tasks] == ["before"]
    transport.connect()
    assert [task.request_id for task in transport.tasks] == ["before", "during"]


async def test_a_request_does_not_wait_for_a_lost_broker_without_end(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission("before"))
    transport.disconnect()
    generation = await scheduler.submit(_submission("during"))
    assert _failure(await _read(generation)).code == ErrorCode.BROKER_UNAVAILABLE
    assert transport.unsent == []


async def test_a_submit_waits_for_the_first_connection(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    transport.disconnect()
    async with asyncio.TaskGroup() as group:
        submitting = group.create_task(scheduler.submit(_submission()))
        await asyncio.sleep(0)
        transport.connect()
    assert submitting.result().request_id == "r"


def _told_by(events: list[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, SequenceDelta))


async def test_a_redelivered_task_goes_on_where_the_lost_worker_stood(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0), SequenceDelta(0, "one two ", (1, 2)))
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    assert transport.controls == [(ConfirmAttempt("r", 1), "", "w1")]
    scheduler.lose_worker("w1")
    cancelled, granted = transport.controls[1:]
    assert isinstance(cancelled[0], CancelGeneration)
    assert (cancelled[0].up_to_attempt, cancelled[2]) == (1, "w1")
    assert granted == (AttemptGranted("r", 2, (ToldSequence(0, (1, 2)),)), "", "w2")
    transport.reply("r", 3, SequenceDelta(0, "from the first", (9,)))
    transport.reply("r", 0, GenerationStarted("w2"), SequenceStarted(0), SequenceDelta(0, "one ", (1,)), attempt=2)
    transport.reply("r", 3, SequenceDelta(0, "two three", (2, 3)), attempt=2)
    transport.reply("r", 4, SequenceFinished(0, "stop"), GenerationFinished(Usage(1, 3)), attempt=2)
    events = await _read(generation)
    assert _told_by(events) == "one two three"
    assert [type(event) for event in events].count(GenerationStarted) == 1
    assert observer.attempts == 1
    assert observer.ended[0].attempts == 2


async def test_while_a_worker_runs_a_task_no_other_one_is_granted_it(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, observer: _Observer
) -> None:
    await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0))
    scheduler.receive_replies([AttemptQuery("r", "w2"), AttemptRunning("r", 1, "w1")])
    assert [message for message, _, _ in transport.controls] == [ConfirmAttempt("r", 1)]
    assert observer.attempts == 0
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    assert [message for message, _, _ in transport.controls] == [ConfirmAttempt("r", 1)] * 2


async def test_a_worker_that_does_not_answer_is_overtaken(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0))
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    await transport.until(lambda: (AttemptGranted("r", 2), "", "w2") in transport.controls)


async def test_another_answer_is_never_spliced_on(scheduler: Scheduler, transport: RecordingSchedulerTransport) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0), SequenceDelta(0, "one ", (1,)))
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    scheduler.lose_worker("w1")
    transport.reply("r", 0, GenerationStarted("w2"), SequenceStarted(0), SequenceDelta(0, "two ", (2,)), attempt=2)
    failure = _failure(await _read(generation))
    assert (failure.code, failure.retryable) == (ErrorCode.WORKER_LOST, True)
    assert isinstance(transport.controls[-1][0], CancelGeneration)


async def test_text_without_tokens_can_not_be_continued(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0), SequenceDelta(0, "half"))
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    scheduler.lose_worker("w1")
    failure = _failure(await _read(generation))
    assert (failure.code, failure.retryable) == (ErrorCode.WORKER_LOST, True)
    assert isinstance(transport.controls[-1][0], AttemptRefused)


async def test_a_worker_that_runs_an_attempt_of_the_past_is_stopped(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission())
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    transport.reply("r", 0, GenerationStarted("w1"), SequenceStarted(0))
    message, _, worker_id = transport.controls[-1]
    assert isinstance(message, CancelGeneration)
    assert (message.up_to_attempt, worker_id) == (1, "w1")


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
    scheduler.receive_replies([AttemptRunning("r", 1, "w1")])
    for asker, lost in (("w2", "w1"), ("w3", "w2"), ("w4", "w3")):
        scheduler.receive_replies([AttemptQuery("r", asker)])
        scheduler.lose_worker(lost)
    granted = [message.attempt for message, _, _ in transport.controls if isinstance(message, AttemptGranted)]
    assert granted == [2, 3]
    refused, _, worker_id = transport.controls[-1]
    assert isinstance(refused, AttemptRefused)
    assert refused.dead_letter
    assert [(lost.attempt, lost.worker_id) for lost in refused.attempts] == [(1, "w1"), (2, "w2"), (3, "w3")]
    assert {lost.how for lost in refused.attempts} == {"its worker was gone"}
    assert all(lost.granted_at > 0 for lost in refused.attempts)
    assert worker_id == "w4"
    # The one that was told dies before it has kept the dead letter.
    scheduler.receive_replies([AttemptQuery("r", "w5")])
    assert transport.controls[-1] == (refused, "", "w5")
    assert _failure(await _read(generation)).code == ErrorCode.WORKER_LOST


async def test_a_task_that_comes_back_without_having_begun_counts_as_no_lost_worker(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission())
    # Handed out and back by the broker many times, unheard; then given back by workers that drain.
    for number in range(1, 8):
        scheduler.receive_replies([AttemptQuery("r", f"w{number}")])
        assert transport.controls[-1] == (AttemptGranted("r", number + 1), "", f"w{number}")
        scheduler.receive_replies([AttemptRunning("r", number + 1, f"w{number}", is_returned=True)])
    # Asked meanwhile, it says so instead: nobody waits for its silence.
    scheduler.receive_replies([AttemptQuery("r", "w8"), AttemptQuery("r", "w9")])
    scheduler.receive_replies([AttemptRunning("r", 9, "w8", is_returned=True)])
    assert transport.controls[-1] == (AttemptGranted("r", 10), "", "w9")
    assert scheduler.in_flight == 1


async def test_what_had_begun_and_is_given_back_counts(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.submit(_submission())
    for number in (1, 2, 3):
        transport.reply("r", 0, GenerationStarted(f"w{number}"), attempt=number)
        scheduler.receive_replies([AttemptQuery("r", f"w{number + 1}")])
        scheduler.receive_replies([AttemptRunning("r", number, f"w{number}", is_returned=True)])
    refused, _, _ = transport.controls[-1]
    assert isinstance(refused, AttemptRefused)
    assert [lost.how for lost in refused.attempts] == ["its worker gave it back to the queue"] * 3


async def test_a_hole_in_the_stream_is_filled_by_telling_again(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w"), SequenceStarted(0))
    transport.reply("r", 5, SequenceDelta(0, "late", (4,)))
    transport.reply("r", 6, SequenceDelta(0, "later", (5,)))
    assert transport.controls == [(ResendReplies("r", 1), "m", "w")]
    whole = (GenerationStarted("w"), SequenceStarted(0), SequenceDelta(0, "early late later", (3, 4, 5)))
    transport.reply("r", 7, *whole, retells=True)
    transport.reply("r", 7, SequenceFinished(0, "stop"), GenerationFinished(Usage(1, 3)))
    assert _told_by(await _read(generation)) == "early late later"


async def test_a_hole_that_nobody_fills_ends_the_stream_and_stops_the_worker(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(_submission())
    transport.reply("r", 0, GenerationStarted("w"), SequenceStarted(0))
    transport.reply("r", 5, SequenceDelta(0, "late"))
    assert _failure(await _read(generation)).code == ErrorCode.STREAM_BROKEN
    message, _, worker_id = transport.controls[-1]
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


async def test_models_that_are_served_later_have_their_queues_first(transport: RecordingSchedulerTransport) -> None:
    scheduler = Scheduler(transport, models={"m": "m"}, settings=SchedulerSettings())
    await scheduler.start()
    await scheduler.serve({"m": "m", "n": "n", "adapter": "n"})
    assert transport.models == ["m", "n"]
    generation = await scheduler.submit(Submission(request_id="1", request=make_request("adapter")))
    assert transport.tasks[-1].deployment == "n"
    await scheduler.serve({"n": "n"})
    with pytest.raises(HeadraceError) as caught:
        await scheduler.submit(Submission(request_id="2", request=make_request("m")))
    assert caught.value.code is ErrorCode.MODEL_NOT_FOUND
    assert generation.request_id == "1"
    await scheduler.close()
