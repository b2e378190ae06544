"""A scheduler goes on with what another one began."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec import structs

from headrace.scheduler.base import Adoption, Generation, GenerationRecord, Submission
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.control import (
    AdoptGeneration,
    AttemptGranted,
    AttemptRefused,
    CancelGeneration,
    ConfirmAttempt,
    ToldSequence,
)
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    AttemptQuery,
    AttemptRunning,
    Event,
    GenerationFinished,
    GenerationStarted,
    ReplyItem,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    StreamChunk,
    Usage,
)
from headrace.schema.settings import SchedulerSettings
from tests.support.transports import RecordingSchedulerTransport
from tests.support.values import make_request

TOLD: tuple[Event, ...] = (
    GenerationStarted("w", 3),
    SequenceStarted(0),
    SequenceDelta(0, "one ", (1,)),
    SequenceDelta(0, "two ", (2,)),
)
REST: tuple[Event, ...] = (SequenceFinished(0, "stop"), GenerationFinished(Usage(3, 3)))
WHOLE: tuple[Event, ...] = (*TOLD[:2], SequenceDelta(0, "one two three", (1, 2, 3)), *REST)


@pytest.fixture
def transport() -> RecordingSchedulerTransport:
    return RecordingSchedulerTransport()


@pytest.fixture
async def scheduler(transport: RecordingSchedulerTransport) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(transport, models={"m": "m"}, settings=SchedulerSettings(), clock=lambda: 1000.0)
    await scheduler.start()
    yield scheduler
    await scheduler.close()


def _adoption(*told: Event, attempts: int = 1, route: str = "own") -> Adoption:
    return Adoption(
        submission=Submission(request_id="r", request=make_request(), retained=True),
        submitted_at=990.0,
        deadline=1050.0,
        events=told,
        record=GenerationRecord(route=route, attempts=attempts),
    )


async def _read(generation: Generation) -> list[Event]:
    async with asyncio.timeout(5):
        return [event async for batch in generation for event in batch]


async def test_the_workers_are_told_and_what_is_told_again_is_trimmed_to_what_is_new(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD))
    assert transport.controls == [(AdoptGeneration("r", "replica", 1050.0), "m", None)]
    transport.reply("r", 9, *WHOLE, retells=True)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]
    assert generation.record.usage == Usage(3, 3)
    await generation.aclose()
    assert scheduler.in_flight == 0


async def test_a_further_attempt_that_was_granted_by_the_one_before_shows_itself(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD))
    transport.reply("r", 2, SequenceDelta(0, "x", (9,)), attempt=2)
    transport.reply("r", 9, *WHOLE, attempt=2, retells=True)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]
    assert generation.record.attempts == 2


async def test_an_older_attempt_is_still_fenced_off(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD, attempts=2))
    transport.reply("r", 9, *WHOLE, retells=True)
    assert (CancelGeneration("r", 1000.0, 1), "", "w") in transport.controls
    transport.reply("r", 9, *WHOLE, attempt=2, retells=True)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]


async def test_a_worker_that_asks_is_granted_the_next_attempt_with_what_was_told(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD))
    scheduler.receive_replies([AttemptQuery("r", "w2")])
    assert transport.controls[-1] == (ConfirmAttempt("r", 1), "", "w")
    scheduler.lose_worker("w")
    granted = AttemptGranted("r", 2, (ToldSequence(0, (1, 2)),))
    await transport.until(lambda: (granted, "", "w2") in transport.controls)
    transport.reply("r", 0, *WHOLE, attempt=2)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]


async def test_which_message_runs_is_not_known_so_its_worker_is_asked(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.adopt(_adoption(*TOLD))
    scheduler.receive_replies([AttemptQuery("r", "w2", 2)])
    assert transport.controls[-1] == (ConfirmAttempt("r", 1), "", "w")
    scheduler.lose_worker("w")
    await transport.until(lambda: any(isinstance(message, AttemptGranted) for message, _, _ in transport.controls))
    scheduler.receive_replies([AttemptQuery("r", "w3", 1)])
    assert transport.controls[-1] == (AttemptRefused("r"), "", "w3")


async def test_one_that_had_not_begun_begins(scheduler: Scheduler, transport: RecordingSchedulerTransport) -> None:
    generation = await scheduler.adopt(_adoption())
    transport.reply("r", 0, *WHOLE)
    assert await _read(generation) == list(WHOLE)


async def test_the_workers_are_told_until_the_end_and_then_to_drop_it(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.adopt(_adoption(*TOLD))
    told = (AdoptGeneration("r", "replica", 1050.0), "m", None)
    await transport.until(lambda: transport.controls.count(told) >= 2)
    transport.reply("r", 9, *WHOLE, retells=True)
    await transport.until(lambda: transport.controls[-1] == (CancelGeneration("r", 1050.0), "m", None))


async def test_what_a_provider_ran_can_not_be_adopted(scheduler: Scheduler) -> None:
    with pytest.raises(HeadraceError) as caught:
        await scheduler.adopt(_adoption(*TOLD, route="provider:else"))
    assert caught.value.code == ErrorCode.PROVIDER_UNAVAILABLE
    assert caught.value.answer.retryable


async def test_what_is_let_go_is_cancelled_by_nobody(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(Submission(request_id="s", request=make_request(), retained=True))
    assert transport.tasks[0].retained
    scheduler.let_go(["s"])
    await generation.aclose()
    assert (scheduler.in_flight, transport.controls) == (0, [])


async def test_what_was_adopted_and_is_let_go_is_announced_no_more_and_not_cancelled(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.adopt(_adoption(*TOLD))
    other = structs.replace(_adoption(), submission=Submission(request_id="other", request=make_request()))
    await scheduler.adopt(other)
    scheduler.let_go(["r"])
    told = (AdoptGeneration("other", "replica", 1050.0), "m", None)
    # Its timer was set after that of the one that was let go.
    await transport.until(lambda: transport.controls.count(told) >= 2)
    assert [message for message, _, _ in transport.controls if message.request_id == "r"] == [
        AdoptGeneration("r", "replica", 1050.0)
    ]


@pytest.mark.parametrize("item", [AttemptQuery("r", "w"), AttemptRunning("r", 1, "w"), StreamChunk("r", 1, 0, TOLD)])
async def test_a_worker_of_what_was_let_go_is_told_nothing_until_the_next_gateway_does(
    scheduler: Scheduler, transport: RecordingSchedulerTransport, item: ReplyItem
) -> None:
    await scheduler.submit(Submission(request_id="r", request=make_request(), retained=True))
    scheduler.let_go(["r"])
    scheduler.receive_replies([item])
    assert transport.controls == []


async def test_what_was_let_go_may_come_back(scheduler: Scheduler, transport: RecordingSchedulerTransport) -> None:
    await scheduler.adopt(_adoption(*TOLD))
    scheduler.let_go(["r"])
    generation = await scheduler.adopt(_adoption(*TOLD))
    transport.reply("r", 9, *WHOLE, retells=True)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]


async def test_what_nobody_goes_on_with_is_dropped_by_all_workers(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    await scheduler.serve({"m": "m", "alias": "m", "n": "n"})
    scheduler.drop("r", 1050.0)
    assert transport.controls == [(CancelGeneration("r", 1050.0), model, None) for model in ("m", "n")]


async def test_a_worker_that_runs_a_later_attempt_says_so_and_the_next_grant_has_another_number(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.adopt(_adoption(*TOLD))
    # Asked of one that is known, which has run nothing for a while.
    scheduler.receive_replies([AttemptQuery("r", "w3")])
    assert transport.controls[-1] == (ConfirmAttempt("r", 1), "", "w")
    scheduler.receive_replies([AttemptRunning("r", 2, "w2")])
    assert generation.record.attempts == 2
    scheduler.lose_worker("w")
    scheduler.receive_replies([AttemptQuery("r", "w3")])
    assert transport.controls[-1] == (ConfirmAttempt("r", 2), "", "w2")
    scheduler.lose_worker("w2")
    assert (CancelGeneration("r", 1050.0, 2), "", "w2") in transport.controls
    assert transport.controls[-1] == (AttemptGranted("r", 3, (ToldSequence(0, (1, 2)),)), "", "w3")
    transport.reply("r", 0, *WHOLE, attempt=3)
    assert await _read(generation) == [SequenceDelta(0, "three", (3,)), *REST]


async def test_only_what_was_adopted_goes_over_to_an_attempt_that_was_not_granted_here(
    scheduler: Scheduler, transport: RecordingSchedulerTransport
) -> None:
    generation = await scheduler.submit(Submission(request_id="r", request=make_request()))
    scheduler.receive_replies([AttemptRunning("r", 2, "w")])
    assert generation.record.attempts == 1
    await generation.aclose()
