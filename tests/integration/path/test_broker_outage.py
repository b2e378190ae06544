"""Streams while the broker goes away and comes back, with a relay and without."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from headrace.apps.cli.nodes import RabbitMqNode, RedisNode, RunningNode, running_rabbitmq, running_redis
from headrace.scheduler.base import Generation
from headrace.schema.events import Event, GenerationFinished
from headrace.schema.settings import BrokerSettings, RedisSettings
from headrace.schema.settings.services import QueueType
from headrace.worker.engines.scripted.tokens import generate_tokens
from tests.contract.transport.harness import RabbitmqHarness
from tests.integration.path.rig import Rig, read, read_until_text, running_rig, text_of
from tests.support.brokers import settings_of

pytestmark = [pytest.mark.services, pytest.mark.timeout(120)]


@pytest.fixture
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitMqNode, RunningNode]]:
    """A node that a test may kill. What a test started again ends with that test's threads."""
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq-own")) as node:
        yield node


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[tuple[RedisNode, RunningNode]]:
    with running_redis(tmp_path) as node:
        yield node


@pytest.fixture
def settings(broker: tuple[RabbitMqNode, RunningNode], queue_type: QueueType) -> BrokerSettings:
    return settings_of(broker[0], queue_type, reconnect_seconds=0.2)


@pytest.fixture
async def rig(settings: BrokerSettings) -> AsyncIterator[Rig]:
    async with running_rig(RabbitmqHarness(settings)) as rig:
        yield rig


@pytest.fixture
async def relayed_rig(settings: BrokerSettings, redis: tuple[RedisNode, RunningNode]) -> AsyncIterator[Rig]:
    harness = RabbitmqHarness(settings, RedisSettings(url=redis[0].url))
    async with running_rig(harness) as rig:
        yield rig


async def read_words(generation: Generation, count: int) -> list[Event]:
    """Read until there are so many words more."""
    events: list[Event] = []
    async with asyncio.timeout(20):
        while len(text_of(events).split()) < count:
            events.extend(await anext(generation))
    return events


async def test_streams_go_on_and_end_through_the_relay_while_the_broker_is_away(
    relayed_rig: Rig, broker: tuple[RabbitMqNode, RunningNode]
) -> None:
    worker = await relayed_rig.start_worker()
    short, long = [await relayed_rig.submit(tokens=count, step_seconds=0.005, seed=0) for count in (200, 3000)]
    short_events, long_events = await read_until_text(short), await read_until_text(long)
    await asyncio.to_thread(broker[1].kill)
    short_events += await read(short)
    long_events += await read_words(long, 100)
    assert text_of(short_events) == "".join(generate_tokens(200, 0))
    assert isinstance(short_events[-1], GenerationFinished)
    await asyncio.to_thread(broker[1].start)
    long_events += await read(long)
    assert text_of(long_events) == "".join(generate_tokens(3000, 0))
    assert text_of(await read(await relayed_rig.submit(text="Again."))) == "Again."
    await worker.ran.until(lambda: len(worker.ran.facts) == 3)
    assert {fact.outcome for fact in worker.ran.facts} == {"finished"}


async def test_without_a_relay_streams_and_requests_wait_for_the_broker(
    rig: Rig, broker: tuple[RabbitMqNode, RunningNode]
) -> None:
    worker = await rig.start_worker()
    generation = await rig.submit(tokens=1500, n=2, step_seconds=0.005, seed=0)
    events = await read_until_text(generation)
    await asyncio.to_thread(broker[1].kill)
    meanwhile = [await rig.submit(text=f"During {n}.") for n in range(5)]
    await asyncio.to_thread(broker[1].start)
    events += await read(generation)
    for index in range(2):
        assert text_of(events, index) == "".join(generate_tokens(1500, index))
    for n, waiting in enumerate(meanwhile):
        assert text_of(await read(waiting)) == f"During {n}."
    await worker.ran.until(lambda: len(worker.ran.facts) == 6)
    assert {fact.outcome for fact in worker.ran.facts} == {"finished"}


async def test_a_redis_that_dies_harms_no_stream(relayed_rig: Rig, redis: tuple[RedisNode, RunningNode]) -> None:
    await relayed_rig.start_worker()
    generation = await relayed_rig.submit(tokens=400, step_seconds=0.002, seed=0)
    events = await read_until_text(generation)
    await asyncio.to_thread(redis[1].kill)
    events += await read(generation)
    assert text_of(events) == "".join(generate_tokens(400, 0))
