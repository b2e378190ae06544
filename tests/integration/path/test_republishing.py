"""Adopted generations whose task nobody holds any more are run on, and one that somebody holds is not run twice."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from headrace.scheduler.base import Adoption, Generation, Submission
from headrace.scheduler.silence import SILENT_SECONDS
from headrace.schema.events import Event
from headrace.schema.request import GenerationParameters
from headrace.schema.settings import BrokerSettings, SchedulerSettings
from headrace.transport.base import SchedulerTransport, WorkerTransport
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness
from tests.integration.path.late import LateTransport
from tests.integration.path.rig import (
    WAIT_SECONDS,
    Rig,
    Worker,
    check_once,
    read,
    read_until_text,
    running_rig,
    text_of,
)
from tests.support.values import fresh_name, make_request

TEXT = " ".join(str(number) for number in range(300))
SOON = 0.5


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        harness: Harness = MemoryHarness()
    else:
        settings: BrokerSettings = request.getfixturevalue("broker_settings")
        harness = RabbitmqHarness(settings)
    async with running_rig(harness) as rig:
        yield rig


def _submission(rig: Rig, text: str = TEXT, **scripted: float) -> Submission:
    parameters = GenerationParameters(provider_extensions={"scripted": {"text": text, **scripted}})
    return Submission(request_id=fresh_name("gen"), request=make_request(rig.model, "Hello", parameters), retained=True)


@asynccontextmanager
async def _adopted(
    rig: Rig,
    submission: Submission,
    told: Sequence[Event] = (),
    *,
    submitted_at: float = 0.0,
    silent_seconds: float = SOON,
) -> AsyncGenerator[tuple[Generation, SchedulerTransport]]:
    """Let another gateway's scheduler go on with a generation; the first one is gone."""
    await rig.transport.close()
    transport = rig.harness.scheduler_side([rig.model])
    other = rig.another_scheduler(transport, SchedulerSettings(), silent_seconds=silent_seconds)
    await other.start()
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await transport.wait_ready()
        now = time.time()
        adoption = Adoption(
            submission=submission, submitted_at=submitted_at or now, deadline=now + 30.0, events=tuple(told)
        )
        yield await other.adopt(adoption), transport
    finally:
        await other.close()


async def _wait_copied(rig: Rig, transport: SchedulerTransport, *, messages: int) -> None:
    """Return when so many messages wait in the queue."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            depth = await transport.measure_queue(rig.model, "online")
            if depth is not None and depth.waiting >= messages:
                return
            await asyncio.sleep(0.05)


def _check(told: Sequence[Event], rest: Sequence[Event]) -> None:
    events = [*told, *rest]
    check_once(events)
    assert text_of(events) == TEXT


def _jobs(*workers: Worker) -> int:
    return sum(len(worker.jobs) for worker in workers)


async def _finish(rig: Rig, submission: Submission) -> tuple[Worker, list[Event]]:
    """Return a worker that has finished and acknowledged a task, and what a gateway kept before it died."""
    worker = await rig.start_worker()
    told = await read_until_text(await rig.scheduler.submit(submission))
    await worker.ran.until(lambda: list(worker.ran.outcomes.values()) == ["finished"])
    return worker, told


async def test_what_was_finished_and_acknowledged_and_not_kept_is_run_on_by_another_worker(rig: Rig) -> None:
    submission = _submission(rig)
    first, told = await _finish(rig, submission)
    first.stop.set()
    await first.wait_ended()
    second = await rig.start_worker()
    async with _adopted(rig, submission, told) as (generation, _):
        rest = await read(generation)
        assert generation.record.attempts == 2
        assert generation.record.usage.output_tokens == len(TEXT.split())
    _check(told, rest)
    assert second.jobs == [submission.request_id]


async def test_what_was_finished_by_a_worker_that_lives_is_told_again_and_not_run_again(rig: Rig) -> None:
    submission = _submission(rig)
    first, told = await _finish(rig, submission)
    async with _adopted(rig, submission, told, silent_seconds=SILENT_SECONDS) as (generation, _):
        _check(told, await read(generation))
        assert generation.record.attempts == 1
    assert first.jobs == [submission.request_id]


async def test_what_never_came_into_the_queue_is_run(rig: Rig) -> None:
    worker = await rig.start_worker()
    submission = _submission(rig)
    async with _adopted(rig, submission) as (generation, _):
        _check((), await read(generation))
    assert worker.jobs == [submission.request_id]


async def test_beside_the_first_message_that_still_waits_the_copy_is_not_run(rig: Rig) -> None:
    submission = _submission(rig)
    began = time.time()
    await rig.scheduler.submit(submission)
    async with _adopted(rig, submission, submitted_at=began, silent_seconds=SILENT_SECONDS) as (generation, transport):
        await _wait_copied(rig, transport, messages=2)
        workers = [await rig.start_worker(slots=1) for _ in range(2)]
        _check((), await read(generation))
        assert _jobs(*workers) == 1
        # Nothing of it is left that anybody would run later.
        third = await rig.start_worker()
        await asyncio.gather(*(_drain(worker) for worker in workers))
    assert third.jobs == []


async def _drain(worker: Worker) -> None:
    worker.stop.set()
    await worker.wait_ended()


async def test_a_worker_that_tells_nothing_for_long_says_that_it_runs_it(rig: Rig) -> None:
    worker = await rig.start_worker()
    submission = _submission(rig, first_token_seconds=5.0)
    told = await anext(await rig.scheduler.submit(submission))
    async with _adopted(rig, submission, told, silent_seconds=2.0) as (generation, transport):
        events = await read(generation)
        depth = await transport.measure_queue(rig.model, "online")
    _check(told, events)
    assert depth is not None
    assert depth.waiting == 0
    assert (worker.jobs, generation.record.attempts) == ([submission.request_id], 1)


async def test_a_worker_that_hears_of_it_too_late_is_overtaken_and_fenced_off(rig: Rig) -> None:
    late = LateTransport(rig.harness.worker_side())
    first = await rig.start_worker(transport=cast("WorkerTransport", late), slots=1, drain_seconds=0.5)
    # It still runs when it hears of the adoption.
    submission = _submission(rig, step_seconds=0.01)
    told = await read_until_text(await rig.scheduler.submit(submission))
    second = await rig.start_worker(slots=1)
    async with _adopted(rig, submission, told) as (generation, _):
        _check(told, await read(generation))
        assert generation.record.attempts == 2
        late.let_go()
        await first.ran.until(lambda: len(first.ran.outcomes) == 1)
    assert second.ran.outcomes == {submission.request_id: "finished"}


async def test_a_worker_that_says_late_that_it_runs_it_runs_on_and_the_copy_is_dropped(rig: Rig) -> None:
    late = LateTransport(rig.harness.worker_side())
    first = await rig.start_worker(transport=cast("WorkerTransport", late), slots=1, drain_seconds=0.5)
    # It still runs when it hears of the adoption.
    submission = _submission(rig, step_seconds=0.01)
    told = await read_until_text(await rig.scheduler.submit(submission))
    async with _adopted(rig, submission, told) as (generation, transport):
        await _wait_copied(rig, transport, messages=1)
        late.let_go()
        _check(told, await read(generation))
        assert generation.record.attempts == 1
    assert first.jobs == [submission.request_id]
