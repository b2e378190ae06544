"""Two lanes on one worker: batch work makes way for online requests and goes on later, on memory and on RabbitMQ."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from headrace.scheduler.base import Generation
from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, GenerationFailed, GenerationFinished
from headrace.schema.settings import BrokerSettings
from headrace.worker.engines.scripted.tokens import generate_tokens
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness
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

LONG = 400
# At two milliseconds a token: longer than any test, and ended by the test.
ENDLESS = 90_000


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def rig(request: pytest.FixtureRequest) -> AsyncIterator[Rig]:
    if request.param == "memory":
        harness: Harness = MemoryHarness()
    else:
        settings: BrokerSettings = request.getfixturevalue("broker_settings")
        harness = RabbitmqHarness(settings)
    async with running_rig(harness) as rig:
        yield rig


async def fill(rig: Rig, count: int, **options: Any) -> tuple[list[Generation], list[list[Event]]]:
    """Start batch work, and wait until all of it has been told in part."""
    asked: dict[str, Any] = {"tokens": LONG, **options}
    begun = [await rig.submit(lane="batch", seed=number, **asked) for number in range(count)]
    return begun, list(await asyncio.gather(*(read_until_text(generation) for generation in begun)))


async def check_whole(generations: Sequence[Generation], heads: Sequence[Sequence[Event]]) -> None:
    rests = await asyncio.gather(*(read(generation) for generation in generations))
    for number, (head, rest) in enumerate(zip(heads, rests, strict=True)):
        events = [*head, *rest]
        check_once(events)
        assert text_of(events) == "".join(generate_tokens(LONG, number))
        usage = events[-1].usage if isinstance(events[-1], GenerationFinished) else None
        assert usage is not None
        assert usage.output_tokens == LONG


async def test_a_worker_full_of_batch_work_takes_an_online_request_at_once(rig: Rig) -> None:
    worker = await rig.start_worker(slots=4)
    batch, heads = await fill(rig, 4)
    online = [await rig.submit(text=f"Now {n}.") for n in range(2)]
    answers = await asyncio.gather(*map(read, online))
    assert [text_of(events) for events in answers] == ["Now 0.", "Now 1."]
    assert not any(generation.request_id in worker.ran.outcomes for generation in batch)
    assert worker.ran.paused
    await check_whole(batch, heads)
    assert {fact.outcome for fact in worker.ran.facts} == {"finished"}
    assert sum(fact.pauses for fact in worker.ran.facts) == len(worker.ran.paused) == len(worker.ran.resumed)


async def test_a_worker_full_of_searches_takes_an_online_request_at_once(rig: Rig) -> None:
    worker = await rig.start_worker(slots=4)
    batch, heads = await fill(rig, 4, beams=2)
    jobs = list(worker.jobs)
    online = [await rig.submit(text=f"Now {n}.") for n in range(4)]
    answers = await asyncio.gather(*map(read, online))
    assert [text_of(events) for events in answers] == [f"Now {n}." for n in range(4)]
    assert not any(generation.request_id in worker.ran.outcomes for generation in batch)
    assert worker.ran.paused
    await check_whole(batch, heads)
    assert sum(fact.pauses for fact in worker.ran.facts) == len(worker.ran.paused) == len(worker.ran.resumed)
    # They were held, and not begun again.
    assert len(worker.jobs) == len(jobs) + len(online)


async def test_a_worker_whose_cache_is_full_of_batch_work_takes_an_online_request_at_once(rig: Rig) -> None:
    worker = await rig.start_worker(slots=8, kv_tokens=1000)
    batch = [await rig.submit("word " * 300, lane="batch", tokens=ENDLESS) for _ in range(3)]
    await asyncio.gather(*(read_until_text(generation) for generation in batch))
    await worker.ran.until(lambda: any(fact.lane == "batch" and not fact.is_open for fact in worker.ran.intake))
    assert text_of(await read(await rig.submit(text="Now."))) == "Now."
    assert len(worker.ran.paused) == 1
    for generation in batch:
        await generation.aclose()


async def test_the_lowest_priority_makes_way_first_and_of_those_the_youngest(rig: Rig) -> None:
    worker = await rig.start_worker(slots=3)
    begun: list[Generation] = []
    for priority in (2, 7, 2):
        begun.append(await rig.submit(lane="batch", priority=priority, tokens=ENDLESS))
        await read_until_text(begun[-1])
    online: list[Generation] = []
    for count in range(1, 4):
        # One by one: of several that are asked to leave at once, any may be gone first.
        online.append(await rig.submit(tokens=ENDLESS))
        await worker.ran.until(lambda count=count: len(worker.ran.paused) == count)
    assert worker.ran.paused == [begun[2].request_id, begun[0].request_id, begun[1].request_id]
    for generation in [*online, *begun]:
        await generation.aclose()


async def test_a_search_for_the_best_makes_way_and_starts_over(rig: Rig) -> None:
    worker = await rig.start_worker(slots=1)
    asked: dict[str, Any] = {"lane": "batch", "tokens": LONG, "best_of": 3, "seed": 5}
    batch = await rig.submit(**asked)
    async with asyncio.timeout(WAIT_SECONDS):
        head = list(await batch.__anext__())
    assert text_of(await read(await rig.submit(text="Now."))) == "Now."
    assert worker.ran.paused == [batch.request_id]
    events = [*head, *await read(batch)]
    check_once(events)
    assert text_of(events) == text_of(await read(await rig.submit(**asked)))


async def pause_one(rig: Rig, worker: Worker, **options: Any) -> tuple[Generation, Generation, list[Event]]:
    """Return a paused batch generation with what was told of it, behind the online one that runs in its place."""
    (batch,), (head,) = await fill(rig, 1, **options)
    online = await rig.submit(tokens=ENDLESS)
    await read_until_text(online)
    await worker.ran.until(lambda: worker.ran.paused == [batch.request_id])
    return batch, online, head


# Sampled, it is taken out of the engine; a search is held in it.
both_ways = pytest.mark.parametrize("beams", [0, 2])


@both_ways
async def test_a_paused_generation_can_be_cancelled(rig: Rig, beams: int) -> None:
    worker = await rig.start_worker(slots=1)
    batch, online, _ = await pause_one(rig, worker, beams=beams)
    assert rig.scheduler.cancel(batch.request_id)
    await worker.ran.until(lambda: batch.request_id in worker.ran.outcomes)
    assert worker.ran.outcomes[batch.request_id] == ErrorCode.CANCELLED
    await online.aclose()


@both_ways
async def test_a_paused_generation_ends_at_its_deadline(rig: Rig, beams: int) -> None:
    worker = await rig.start_worker(slots=1)
    batch, online, _ = await pause_one(rig, worker, seconds=1.0, beams=beams)
    last = (await read(batch))[-1]
    assert isinstance(last, GenerationFailed)
    assert last.code == ErrorCode.DEADLINE_EXCEEDED
    await online.aclose()


@both_ways
async def test_a_drain_hands_back_at_once_what_is_paused(rig: Rig, beams: int) -> None:
    worker = await rig.start_worker(slots=1, drain_seconds=30.0)
    batch, online, head = await pause_one(rig, worker, beams=beams)
    await rig.start_worker(slots=4)
    worker.stop.set()
    await check_whole([batch], [head])
    assert worker.ran.outcomes[batch.request_id] == "handed back"
    assert online.request_id not in worker.ran.outcomes
    await online.aclose()


@both_ways
async def test_what_was_paused_on_a_dead_engine_goes_on_elsewhere(rig: Rig, beams: int) -> None:
    worker = await rig.start_worker(slots=1)
    (batch,), (head,) = await fill(rig, 1, beams=beams)
    killer = await rig.submit(fault="dead", fault_after_tokens=3)
    await worker.wait_ended()
    await killer.aclose()
    await rig.start_worker()
    await check_whole([batch], [head])


async def test_a_worker_may_take_no_batch_work(rig: Rig) -> None:
    await rig.start_worker(slots=1, batch_slots=-1)
    batch = await rig.submit(lane="batch", text="Later.")
    assert text_of(await read(await rig.submit(text="Now."))) == "Now."
    other = await rig.start_worker(slots=1)
    assert text_of(await read(batch)) == "Later."
    await other.ran.until(lambda: batch.request_id in other.ran.outcomes)


async def test_the_intake_closes_while_the_engine_is_full_and_opens_again(rig: Rig) -> None:
    worker = await rig.start_worker(slots=8, kv_tokens=1000)
    first = [await rig.submit("word " * 300, tokens=ENDLESS) for _ in range(3)]
    await asyncio.gather(*(read_until_text(generation) for generation in first))
    await worker.ran.until(lambda: any(not fact.is_open for fact in worker.ran.intake))
    waiting = await rig.submit(text="At last.")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await waiting.__anext__()
    await first[0].aclose()
    await first[1].aclose()
    assert text_of(await read(waiting)) == "At last."
    assert any(fact.is_open for fact in worker.ran.intake)
    await first[2].aclose()


async def test_an_idle_worker_takes_what_is_larger_than_its_engine(rig: Rig) -> None:
    await rig.start_worker(slots=2, kv_tokens=100)
    large = [await rig.submit("word " * 500, text=f"{n}") for n in range(3)]
    answers = await asyncio.gather(*map(read, large))
    assert [text_of(events) for events in answers] == ["0", "1", "2"]


async def test_two_models_on_one_worker(rig: Rig) -> None:
    worker = await rig.start_worker([rig.model, rig.other_model], slots=1)
    busy = await rig.submit(tokens=ENDLESS)
    await read_until_text(busy)
    other = await rig.submit(model=rig.other_model, text="Another model.")
    assert text_of(await read(other)) == "Another model."
    assert rig.scheduler.cancel(busy.request_id)
    await worker.ran.until(lambda: worker.ran.outcomes.get(busy.request_id) == ErrorCode.CANCELLED)
    assert text_of(await read(await rig.submit(text="Free again."))) == "Free again."


async def test_a_rolling_update_loses_nothing(rig: Rig) -> None:
    workers = [await rig.start_worker(slots=2, drain_seconds=0.2) for _ in range(2)]
    lanes = ("batch", "online")
    generations = [await rig.submit(lane=lanes[n % 2], seed=n, tokens=LONG, seconds=60) for n in range(12)]
    reading = asyncio.gather(*(read(generation) for generation in generations))
    for old in workers:
        await rig.start_worker(slots=2)
        old.stop.set()
        await old.wait_ended()
        assert old.failure is None
    for number, events in enumerate(await reading):
        check_once(events)
        assert text_of(events) == "".join(generate_tokens(LONG, number))
