"""A retained generation goes on when its scheduler is gone, over memory and over RabbitMQ, with the scripted engine."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import pytest

from headrace.scheduler.base import Adoption, Submission
from headrace.schema.events import Event, GenerationFinished
from headrace.schema.request import GenerationParameters
from headrace.schema.settings import BrokerSettings, SchedulerSettings
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness
from tests.integration.path.rig import WAIT_SECONDS, Rig, read, read_until_text, running_rig, text_of
from tests.support.values import fresh_name, make_request

TEXT = " ".join(str(number) for number in range(300))


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        harness: Harness = MemoryHarness()
    else:
        settings: BrokerSettings = request.getfixturevalue("broker_settings")
        harness = RabbitmqHarness(settings)
    async with running_rig(harness) as rig:
        yield rig


def _submission(rig: Rig, text: str = TEXT, *, seconds: float = 30.0) -> Submission:
    parameters = GenerationParameters(provider_extensions={"scripted": {"text": text}})
    return Submission(
        request_id=fresh_name("gen"),
        request=make_request(rig.model, "Hello", parameters),
        timeout_seconds=seconds,
        retained=True,
    )


async def _die(rig: Rig) -> None:
    """Let the scheduler's process vanish, as far as anybody can see it."""
    await rig.transport.close()


async def _adopt(rig: Rig, submission: Submission, told: Sequence[Event], *, deadline: float) -> list[Event]:
    """Return what another scheduler reads of a generation."""
    transport = rig.harness.scheduler_side([rig.model])
    other = rig.another_scheduler(transport, SchedulerSettings())
    await other.start()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await transport.wait_ready()
        adoption = Adoption(submission=submission, submitted_at=deadline - 30.0, deadline=deadline, events=tuple(told))
        return await read(await other.adopt(adoption))
    finally:
        await other.close()


def _deadline() -> float:
    return time.time() + 30.0


async def test_another_scheduler_reads_on_where_the_first_stood(rig: Rig) -> None:
    worker = await rig.start_worker()
    submission = _submission(rig)
    told = await read_until_text(await rig.scheduler.submit(submission))
    await _die(rig)
    rest = await _adopt(rig, submission, told, deadline=_deadline())
    assert text_of([*told, *rest]) == TEXT
    assert isinstance(rest[-1], GenerationFinished)
    assert rest[-1].usage.output_tokens == len(TEXT.split())
    await worker.ran.until(lambda: list(worker.ran.outcomes.values()) == ["finished"])


async def test_an_answer_that_ended_unread_is_kept_until_somebody_reads_it(rig: Rig) -> None:
    worker = await rig.start_worker()
    submission = _submission(rig, " ".join("abcdefghij" * 20))
    told = await read_until_text(await rig.scheduler.submit(submission))
    await _die(rig)
    rest = await _adopt(rig, submission, told, deadline=_deadline())
    assert text_of([*told, *rest]) == " ".join("abcdefghij" * 20)
    await worker.ran.until(lambda: list(worker.ran.outcomes.values()) == ["finished"])


async def test_a_task_that_nobody_had_taken_is_run_for_the_adopter(rig: Rig) -> None:
    submission = _submission(rig, "one two three")
    await rig.scheduler.submit(submission)
    await _die(rig)
    async with asyncio.TaskGroup() as group:
        adopted = group.create_task(_adopt(rig, submission, (), deadline=_deadline()))
        await rig.start_worker()
    assert text_of(adopted.result()) == "one two three"


async def test_a_worker_gives_up_at_the_deadline_what_nobody_adopts(rig: Rig) -> None:
    worker = await rig.start_worker()
    await read_until_text(await rig.scheduler.submit(_submission(rig, TEXT * 20, seconds=1.5)))
    await _die(rig)
    await worker.ran.until(lambda: list(worker.ran.outcomes.values()) == ["deadline_exceeded"])


async def test_a_worker_that_is_handed_the_task_of_another_asks_until_the_adopter_answers(rig: Rig) -> None:
    first = await rig.start_worker(drain_seconds=0.0)
    submission = _submission(rig)
    told = await read_until_text(await rig.scheduler.submit(submission))
    await _die(rig)
    first.stop.set()
    await first.wait_ended()
    second = await rig.start_worker()
    rest = await _adopt(rig, submission, told, deadline=_deadline())
    assert text_of([*told, *rest]) == TEXT
    await second.ran.until(lambda: list(second.ran.outcomes.values()) == ["finished"])
