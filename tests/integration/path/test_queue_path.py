"""The queue path from submit to the last event, over memory and over RabbitMQ, with the scripted engine."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from headrace.schema.codec import encode_task
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationStarted,
    SequenceFinished,
    SequenceStarted,
)
from headrace.schema.settings import BrokerSettings
from headrace.transport.envelope import build_envelope
from headrace.worker.engines.base import EngineDeadError
from headrace.worker.engines.scripted.tokens import generate_tokens
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness
from tests.integration.path.rig import Rig, check_once, read, read_until_text, running_rig, text_of
from tests.support.values import make_task


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        harness: Harness = MemoryHarness()
    else:
        settings: BrokerSettings = request.getfixturevalue("broker_settings")
        harness = RabbitmqHarness(settings)
    async with running_rig(harness) as rig:
        yield rig


def _failure(events: list[Event]) -> GenerationFailed:
    assert isinstance(events[-1], GenerationFailed), events[-1]
    return events[-1]


async def test_a_generation_runs_from_its_start_to_its_finish(rig: Rig) -> None:
    worker = await rig.start_worker()
    events = await read(await rig.submit(text="one two three", n=2))
    assert isinstance(events[0], GenerationStarted)
    assert events[0].worker_id == worker.worker_id
    assert [event.index for event in events if isinstance(event, SequenceStarted)] == [0, 1]
    assert sorted(event.index for event in events if isinstance(event, SequenceFinished)) == [0, 1]
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].usage.output_tokens > 0
    assert events[-1].timings is not None


async def test_64_streams_at_once_are_complete_and_distinct(rig: Rig) -> None:
    await rig.start_worker(slots=16)
    await rig.start_worker(slots=16)
    generations = [await rig.submit(text=f"I am number {number} of many.") for number in range(64)]
    answers = await asyncio.gather(*(read(generation) for generation in generations))
    assert [text_of(events) for events in answers] == [f"I am number {number} of many." for number in range(64)]
    assert all(isinstance(events[-1], GenerationFinished) for events in answers)


async def test_a_higher_priority_overtakes_those_that_wait(rig: Rig) -> None:
    blocker = await rig.submit(fault="hang")
    worker = await rig.start_worker(slots=1)
    async with asyncio.timeout(10):
        await blocker.__anext__()
    low = [await rig.submit(tokens=1, priority=1) for _ in range(3)]
    high = await rig.submit(tokens=1, priority=8)
    await asyncio.sleep(0.1)  # the publishes above are on their way, and nothing tells when they are queued
    await blocker.aclose()
    await asyncio.gather(*(read(generation) for generation in [*low, high]))
    assert [fact.request_id for fact in worker.ran.facts][1] == high.request_id


async def test_a_reader_that_leaves_frees_the_slot(rig: Rig) -> None:
    worker = await rig.start_worker(slots=1)
    first = await rig.submit(fault="hang", fault_after_tokens=2)
    await read_until_text(first)
    second = await rig.submit(tokens=2)
    await first.aclose()
    assert isinstance((await read(second))[-1], GenerationFinished)
    assert worker.ran.outcomes[first.request_id] == ErrorCode.CANCELLED


async def test_a_request_that_is_cancelled_in_the_queue_never_runs(rig: Rig) -> None:
    worker = await rig.start_worker(slots=1)
    blocker = await rig.submit(fault="hang", fault_after_tokens=1)
    await read_until_text(blocker)
    waiting = await rig.submit(tokens=1000)
    assert rig.scheduler.cancel(waiting.request_id)
    assert _failure(await read(waiting)).code == ErrorCode.CANCELLED
    await asyncio.sleep(0.1)  # the control message is on its way; nothing tells when it has arrived
    await blocker.aclose()
    await worker.ran.until(lambda: waiting.request_id in worker.ran.outcomes)
    assert worker.ran.outcomes[waiting.request_id] == ErrorCode.CANCELLED
    assert next(fact for fact in worker.ran.facts if fact.request_id == waiting.request_id).first_token_seconds is None


async def test_a_request_that_waited_past_its_deadline_is_dropped_at_pickup(rig: Rig) -> None:
    generation = await rig.submit(tokens=5, seconds=0.05)
    failure = _failure(await read(generation))
    assert (failure.code, failure.stage) == (ErrorCode.DEADLINE_EXCEEDED, "queue")
    worker = await rig.start_worker()
    await worker.ran.until(lambda: generation.request_id in worker.ran.outcomes)
    assert worker.ran.facts[0].first_token_seconds is None


async def test_a_generation_is_stopped_at_its_deadline(rig: Rig) -> None:
    await rig.start_worker()
    failure = _failure(await read(await rig.submit(fault="hang", fault_after_tokens=3, seconds=0.5)))
    assert (failure.code, failure.stage) == (ErrorCode.DEADLINE_EXCEEDED, "decode")


async def test_one_request_that_fails_in_the_engine_harms_no_other(rig: Rig) -> None:
    await rig.start_worker()
    bad = await rig.submit(fault="error", fault_after_tokens=2)
    good = await rig.submit(text="All is well.")
    failure = _failure(await read(bad))
    assert (failure.code, failure.stage) == (ErrorCode.ENGINE_ERROR, "decode")
    assert text_of(await read(good)) == "All is well."


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(rig: Rig) -> None:
    await rig.start_worker()
    generation = await rig.submit("word " * 100_001)
    failure = _failure(await read(generation))
    assert failure.code == ErrorCode.CONTEXT_LENGTH_EXCEEDED
    assert "100001" in failure.message
    assert "100000" in failure.message


async def test_what_ran_on_a_dead_engine_goes_on_on_another_worker(rig: Rig) -> None:
    first = await rig.start_worker(slots=2)
    victim = await rig.submit(tokens=200, step_seconds=0.005)
    begun = await read_until_text(victim)
    killer = await rig.submit(fault="dead", fault_after_tokens=3)
    await first.wait_ended()
    assert isinstance(first.failure, EngineDeadError)
    await killer.aclose()
    await rig.start_worker()
    events = [*begun, *await read(victim)]
    assert text_of(events) == "".join(generate_tokens(200, 0)), events
    check_once(events)


async def test_a_request_that_kills_engine_after_engine_is_given_up(rig: Rig) -> None:
    killer = await rig.submit(fault="dead", fault_after_tokens=3)
    for _ in range(3):
        await (await rig.start_worker()).wait_ended()
    last = await rig.start_worker()
    assert _failure(await read(killer)).code == ErrorCode.WORKER_LOST
    await _wait_for_dead_letter(rig)
    assert last.failure is None


async def test_a_drain_finishes_what_runs_and_takes_no_more(rig: Rig) -> None:
    worker = await rig.start_worker()
    running = await rig.submit(tokens=100)
    await read_until_text(running)
    worker.stop.set()
    assert isinstance((await read(running))[-1], GenerationFinished)
    await worker.wait_ended()
    assert worker.failure is None
    later = await rig.submit(text="Later.")
    await rig.start_worker()
    assert text_of(await read(later)) == "Later."


async def test_a_drain_that_runs_out_of_time_hands_over_what_runs(rig: Rig) -> None:
    worker = await rig.start_worker(drain_seconds=0.2)
    begun = await rig.submit(tokens=400, n=3, step_seconds=0.005)
    first = await read_until_text(begun)
    waiting = await rig.submit(text="Handed over.", first_token_seconds=1.5)
    async with asyncio.timeout(10):
        await waiting.__anext__()
    worker.stop.set()
    await worker.wait_ended()
    await rig.start_worker()
    events = [*first, *await read(begun)]
    check_once(events)
    for index in range(3):
        assert text_of(events, index) == "".join(generate_tokens(400, index))
    usage = events[-1].usage if isinstance(events[-1], GenerationFinished) else None
    assert usage is not None
    assert usage.output_tokens == 1200
    assert text_of(await read(waiting)) == "Handed over."


async def test_a_scheduler_that_is_gone_frees_the_engine(rig: Rig) -> None:
    worker = await rig.start_worker(slots=1)
    generation = await rig.submit(tokens=50_000)
    await read_until_text(generation)
    # The scheduler goes without a word: its transport is closed under it, so that no cancel can be sent.
    await rig.transport.close()
    await worker.ran.until(lambda: generation.request_id in worker.ran.outcomes)
    assert worker.ran.outcomes[generation.request_id] == ErrorCode.CANCELLED


async def test_a_task_that_comes_again_after_its_scheduler_is_gone_frees_the_slot(rig: Rig) -> None:
    first = await rig.start_worker(slots=1, drain_seconds=0.05)
    generation = await rig.submit(fault="hang", fault_after_tokens=1)
    await read_until_text(generation)
    await rig.transport.close()
    first.stop.set()
    await first.wait_ended()
    second = await rig.start_worker(slots=1)
    await second.ran.until(lambda: generation.request_id in second.ran.outcomes)
    assert second.ran.outcomes[generation.request_id] == ErrorCode.CANCELLED


async def test_a_task_that_is_delivered_twice_runs_once(rig: Rig) -> None:
    worker = await rig.start_worker()
    generation = await rig.submit(text="Only once.", step_seconds=0.05)
    await read_until_text(generation)
    task = make_task(rig.model, request_id=generation.request_id, reply_address="nowhere")
    await asyncio.to_thread(rig.harness.put_raw, rig.model, build_envelope(task))
    rest = await read(generation)
    assert isinstance(rest[-1], GenerationFinished)
    await asyncio.to_thread(rig.harness.put_raw, rig.model, build_envelope(task))
    marker = await rig.submit(text="Marker.")
    await read(marker)
    await worker.ran.until(lambda: marker.request_id in worker.ran.outcomes)
    assert [fact.request_id for fact in worker.ran.facts] == [generation.request_id, marker.request_id]


async def test_a_task_that_was_published_twice_holds_no_slot(rig: Rig) -> None:
    await rig.start_worker(slots=2)
    first = await rig.submit(text="Only once.", step_seconds=0.05)
    await read_until_text(first)
    task = make_task(rig.model, request_id=first.request_id, reply_address="nowhere")
    await asyncio.to_thread(rig.harness.put_raw, rig.model, build_envelope(task))
    assert isinstance((await read(first))[-1], GenerationFinished)
    # Both slots are free again: two endless answers begin, and neither waits for the other.
    endless = [await rig.submit(text="word " * 400, step_seconds=0.05) for _ in range(2)]
    for generation in endless:
        await read_until_text(generation)
        assert rig.scheduler.in_flight == len(endless)
    for generation in endless:
        await generation.aclose()


async def test_a_task_that_can_not_be_decoded_becomes_a_dead_letter(rig: Rig) -> None:
    await rig.start_worker()
    good = make_task(rig.model)
    broken = build_envelope(good).replace(encode_task(good), b"\x80" * len(encode_task(good)))
    await asyncio.to_thread(rig.harness.put_raw, rig.model, broken)
    assert text_of(await read(await rig.submit(text="Still here."))) == "Still here."
    await _wait_for_dead_letter(rig)
    # It comes again, because its acknowledgement was lost: nobody knows here whether it was kept.
    await asyncio.to_thread(rig.harness.put_raw, rig.model, broken)
    await _wait_for_dead_letter(rig, count=2)


async def _wait_for_dead_letter(rig: Rig, *, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while await asyncio.to_thread(rig.harness.count_dead_letters, rig.model) != count:
            pass
