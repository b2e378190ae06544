"""Who goes first in a queue, over memory and over RabbitMQ: tenants in turn, and nobody is last for ever."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol

import pytest

from headrace.scheduler.base import Generation
from headrace.scheduler.shares import TenantShares
from headrace.schema.control import CancelGeneration
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFinished, GenerationQueued
from headrace.schema.settings import BrokerSettings, SchedulerSettings
from headrace.transport.tasks import TaskOwner
from headrace.worker.engines.scripted.tokens import generate_tokens
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness
from tests.integration.path.rig import WAIT_SECONDS, Rig, read, read_until_text, running_rig, text_of
from tests.support.brokers import need_strict_priorities


class OpenRig(Protocol):
    def __call__(self, settings: SchedulerSettings | None = None) -> AbstractAsyncContextManager[Rig]: ...


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
def open_rig(request: pytest.FixtureRequest) -> OpenRig:
    if request.param == "memory":
        harness: Harness = MemoryHarness()
    else:
        settings: BrokerSettings = request.getfixturevalue("broker_settings")
        harness = RabbitmqHarness(settings)
    return lambda settings=None: running_rig(harness, settings=settings)


@pytest.fixture
def strict_priorities(request: pytest.FixtureRequest) -> None:
    """Skip where the queues of this broker have none."""
    if request.node.callspec.params["open_rig"] == "rabbitmq":
        need_strict_priorities(request.getfixturevalue("queue_kind"))


@pytest.fixture
async def owner() -> AsyncIterator[TaskOwner]:
    owner = TaskOwner()
    yield owner
    await owner.close()


async def _block(rig: Rig, slots: int) -> list[Generation]:
    """Fill the slots of a worker."""
    blockers = [await rig.submit(fault="hang", fault_after_tokens=1, priority=9) for _ in range(slots)]
    for blocker in blockers:
        await read_until_text(blocker)
    return blockers


async def _until(claim: Callable[[], Awaitable[bool]], *, every: float = 0.01) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        holds = await claim()
        while not holds:
            await asyncio.sleep(every)
            holds = await claim()


async def _until_queued(rig: Rig, count: int) -> None:
    async def is_so() -> bool:
        depth = await rig.transport.measure_queue(rig.model, "online")
        return depth is not None and depth.waiting == count

    await _until(is_so)


@pytest.mark.usefixtures("strict_priorities")
async def test_a_tenant_that_floods_is_overtaken_by_one_that_asks_for_a_little(open_rig: OpenRig) -> None:
    async with open_rig() as rig:
        worker = await rig.start_worker(slots=2)
        blockers = await _block(rig, 2)
        flood = [await rig.submit(tokens=1, tenant="flood") for _ in range(100)]
        few = [await rig.submit(tokens=1, tenant="few") for _ in range(10)]
        await _until_queued(rig, 110)
        for blocker in blockers:
            await blocker.aclose()
        await asyncio.gather(*(read(generation) for generation in [*flood, *few]))
        ids = {generation.request_id for generation in few}
        served = [fact.request_id in ids for fact in worker.ran.facts if fact.outcome == "finished"]
        shares = TenantShares(rig.harness.levels)
    entered: list[tuple[int, bool]] = []
    for tenant, count in (("flood", 100), ("few", 10)):
        for _ in range(count):
            share = shares.find(tenant, 5)
            shares.add(tenant, 5, share)
            entered.append((share, tenant == "few"))
    computed = [is_few for _, is_few in sorted(entered, key=lambda entry: -entry[0])]
    assert sum(served) == sum(computed) == 10
    # Two run at once, so neighbours may end the other way round.
    places = [[place for place, is_few in enumerate(order) if is_few] for order in (served, computed)]
    assert all(abs(was - should) <= 2 for was, should in zip(*places, strict=True)), places


async def test_a_low_priority_is_answered_behind_a_stream_of_high_ones_that_never_ends(
    open_rig: OpenRig, owner: TaskOwner
) -> None:
    async with open_rig(SchedulerSettings(ageing_seconds=0.4)) as rig:
        workers = [await rig.start_worker(slots=1), await rig.start_worker(slots=1)]
        submitted: list[str] = []

        async def keep_asking() -> None:
            # The engine ends with the test, and with it what still runs.
            with suppress(AssertionError, HeadraceError):
                while True:
                    generation = await rig.submit(tokens=2, step_seconds=0.01, priority=8)
                    submitted.append(generation.request_id)
                    await read(generation)

        for number in range(8):
            owner.start(keep_asking(), name=f"stream {number}")
        await asyncio.sleep(0.1)
        low = await rig.submit(tokens=3, priority=0)
        assert isinstance((await read(low))[-1], GenerationFinished)
        await owner.close()
        await _until_queued(rig, 0)
        marker = await rig.submit(tokens=1, priority=0)
        await read(marker)
        facts = [fact for worker in workers for fact in worker.ran.facts]
        # The first message and two copies were still there, and were dropped.
        outcomes = [fact.outcome for fact in facts if fact.request_id == low.request_id]
        assert sorted(outcomes) == ["finished", *["refused"] * (len(outcomes) - 1)]
        jobs = [request_id for worker in workers for request_id in worker.jobs]
        assert len(jobs) == len(set(jobs)), "a request ran twice"


async def test_while_all_of_a_queue_ages_each_request_runs_once(open_rig: OpenRig) -> None:
    async with open_rig(SchedulerSettings(ageing_seconds=0.1)) as rig:
        blocked = await rig.start_worker(slots=1)
        blockers = await _block(rig, 1)
        generations = [await rig.submit(tokens=1, priority=number % 10) for number in range(30)]
        await asyncio.sleep(0.5)
        workers = [blocked, await rig.start_worker(slots=3), await rig.start_worker(slots=3)]
        await blockers[0].aclose()
        answers = await asyncio.gather(*(read(generation) for generation in generations))
        assert all(isinstance(events[-1], GenerationFinished) for events in answers)
        await _until_queued(rig, 0)
        jobs = [request_id for worker in workers for request_id in worker.jobs]
        assert sorted(jobs) == sorted(generation.request_id for generation in [*generations, *blockers])


async def test_the_door_says_when_to_come_again_and_is_about_right(open_rig: OpenRig, owner: TaskOwner) -> None:
    async with open_rig(SchedulerSettings(max_wait_seconds=1.0)) as rig:
        await rig.start_worker(slots=2)
        # Two at a time, a tenth of a second each: twenty a second.
        generations = [await rig.submit(tokens=2, first_token_seconds=0.09, step_seconds=0.01) for _ in range(90)]
        reading = [owner.start(read(generation), name="reader") for generation in generations]
        refusals: list[HeadraceError] = []

        async def is_refused() -> bool:
            try:
                generation = await rig.submit(tokens=1)
            except HeadraceError as error:
                refusals.append(error)
                return True
            await generation.aclose()
            return False

        async def is_taken() -> bool:
            return not await is_refused()

        await _until(is_refused, every=0.1)
        refusal, loop = refusals[0], asyncio.get_running_loop()
        assert refusal.code == ErrorCode.OVERLOADED
        refused_at, said = loop.time(), refusal.retry_after_seconds
        assert said is not None
        await _until(is_taken, every=0.1)
        assert said / 3 < loop.time() - refused_at < said * 3 + 1.0
        await asyncio.gather(*reading)


async def test_one_that_asks_is_told_how_long_it_will_be(open_rig: OpenRig, owner: TaskOwner) -> None:
    async with open_rig() as rig:
        await rig.start_worker(slots=2)
        generations = [await rig.submit(tokens=2, first_token_seconds=0.09, step_seconds=0.01) for _ in range(100)]
        reading = [owner.start(read(generation), name="reader") for generation in generations]
        events = await read(await rig.submit(tokens=1, asks_position=True))
        told = [event for event in events if isinstance(event, GenerationQueued)]
        assert [event.position for event in told] == sorted((event.position for event in told), reverse=True)
        assert told[0].eta_seconds is None
        known = [event.eta_seconds for event in told if event.eta_seconds is not None]
        assert known
        assert 0.0 < known[0] < 30.0
        await asyncio.gather(*reading)


async def test_what_other_gateways_have_in_the_queue_counts(open_rig: OpenRig) -> None:
    async with open_rig(SchedulerSettings(max_waiting=20)) as rig:
        other = rig.harness.scheduler_side([rig.model])
        second = rig.another_scheduler(other, SchedulerSettings(max_waiting=20))
        await second.start()
        await other.wait_ready()
        for _ in range(20):
            await rig.submit()
        await _until_queued(rig, 20)
        with pytest.raises(HeadraceError) as caught:
            await rig.submit(scheduler=second)
        assert caught.value.code == ErrorCode.OVERLOADED
        await second.close()


async def test_the_tasks_of_a_gateway_that_is_gone_hold_no_slot(open_rig: OpenRig) -> None:
    async with open_rig(SchedulerSettings(ageing_seconds=0.2)) as rig:
        other = rig.harness.scheduler_side([rig.model])
        gone = rig.another_scheduler(other, SchedulerSettings(ageing_seconds=0.2))
        await gone.start()
        await other.wait_ready()
        await rig.submit(scheduler=gone, tokens=1)
        await _until_queued(rig, 2)
        # It goes without a word: its transport is closed under it, so that no cancel can be sent.
        await other.close()
        worker = await rig.start_worker(slots=1)
        assert isinstance((await read(await rig.submit(tokens=1)))[-1], GenerationFinished)
        await _until_queued(rig, 0)
        assert len(worker.jobs) == 1
        await gone.close()


async def test_a_copy_whose_worker_dies_goes_on_on_another_one(open_rig: OpenRig) -> None:
    async with open_rig(SchedulerSettings(ageing_seconds=0.2)) as rig:
        victim = await rig.submit(tokens=200, step_seconds=0.005, priority=6)
        await _until_queued(rig, 2)
        first = await rig.start_worker(slots=4)
        begun = await read_until_text(victim)
        killer = await rig.submit(fault="dead", fault_after_tokens=3)
        await first.wait_ended()
        await killer.aclose()
        second = await rig.start_worker()
        events = [*begun, *await read(victim)]
        assert text_of(events) == "".join(generate_tokens(200, 0))
        assert isinstance(events[-1], GenerationFinished)
        await _until_queued(rig, 0)
        assert first.jobs.count(victim.request_id) == second.jobs.count(victim.request_id) == 1


async def test_a_run_that_another_one_has_overtaken_gives_its_slot_back(open_rig: OpenRig) -> None:
    async with open_rig() as rig:
        worker = await rig.start_worker(slots=1)
        overtaken = await rig.submit(fault="hang", fault_after_tokens=1)
        await read_until_text(overtaken)
        message = CancelGeneration(overtaken.request_id, time.time() + 30.0, up_to_attempt=1)
        rig.transport.send_control(message, model="", worker_id=worker.worker_id)
        assert isinstance((await read(await rig.submit(tokens=1)))[-1], GenerationFinished)
        assert worker.ran.outcomes[overtaken.request_id] == "superseded"


@pytest.mark.usefixtures("strict_priorities")
async def test_the_batch_lane_has_levels_too(open_rig: OpenRig) -> None:
    async with open_rig() as rig:
        flood = [await rig.submit(tokens=1, tenant="flood", lane="batch") for _ in range(3)]
        few = await rig.submit(tokens=1, tenant="few", lane="batch")
        urgent = await rig.submit(tokens=1, tenant="flood", lane="batch", priority=8)
        worker = await rig.start_worker(slots=1, batch_slots=1)
        await asyncio.gather(*(read(generation) for generation in (*flood, few, urgent)))
        expected = [urgent, flood[0], few, *flood[1:]]
        assert worker.jobs == [generation.request_id for generation in expected]


async def test_batch_work_that_nobody_takes_goes_over_to_the_online_lane(open_rig: OpenRig) -> None:
    async with open_rig(SchedulerSettings(batch_ageing_seconds=0.3)) as rig:
        worker = await rig.start_worker(batch_slots=-1)
        late = await rig.submit(text="At last.", lane="batch")
        assert text_of(await read(late)) == "At last."
        assert worker.jobs == [late.request_id]
        # What is left of it in its first queue is dropped by whoever looks there.
        other = await rig.start_worker()
        await other.ran.until(lambda: late.request_id in other.ran.outcomes)
        assert other.ran.outcomes[late.request_id] == "refused"
        assert other.jobs == []


async def test_what_a_worker_gives_back_before_it_began_it_was_not_lost_with(open_rig: OpenRig) -> None:
    # One lost worker would be the end of it.
    async with open_rig(SchedulerSettings(max_attempts=1)) as rig:
        for_online = await rig.start_worker(slots=1, drain_seconds=60.0)
        blockers = await _block(rig, 1)
        late = await rig.submit(text="At last.", lane="batch")

        async def is_taken() -> bool:
            return late.queued is None

        await _until(is_taken)
        for_online.stop.set()
        await for_online.ran.until(lambda: late.request_id in for_online.ran.outcomes)
        assert for_online.ran.outcomes[late.request_id] == "handed back"
        await rig.start_worker()
        assert text_of(await read(late)) == "At last."
        assert rig.scheduler.cancel(blockers[0].request_id)
