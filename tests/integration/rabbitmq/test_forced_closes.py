"""A broker that closes what is ours: deliveries that it thinks were forgotten, connections, and publishers in an alarm.

Through all of it each generation runs once, and its reader is told each token once.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from headrace.apps.cli.nodes import RabbitMqNode, RedisNode, RunningNode, running_rabbitmq
from headrace.scheduler.base import Generation
from headrace.schema.events import Event, GenerationFinished, GenerationStarted
from headrace.schema.settings import BrokerSettings, RedisSettings
from headrace.schema.settings.services import QueueType
from headrace.transport.base import TransportUnavailableError
from headrace.transport.rabbitmq.topology import (
    CLASSIC_WITHOUT_CONSUMER_TIMEOUT,
    CONSUMER_TIMEOUT_BY_QUEUE,
    QueueKind,
)
from headrace.worker.engines.scripted.tokens import generate_tokens
from tests.contract.transport.harness import RabbitmqHarness
from tests.integration.path.rig import Rig, Worker, read, read_until_text, running_rig, text_of
from tests.support.brokers import kind_of, settings_of
from tests.support.rabbitmqctl import rabbitmqctl

pytestmark = [pytest.mark.services, pytest.mark.long, pytest.mark.timeout(120)]

# Far below the length of a generation here; an operator's is far above. How often it is looked at differs by version.
CONSUMER_TIMEOUT = (
    "[{rabbit, [{consumer_timeout, 1000}, {channel_tick_interval, 500}, {quorum_tick_interval, 500}]}].\n"
)
IMPATIENT = ("set_policy", "impatient", "^headrace", '{"consumer-timeout":1000}', "--apply-to", "queues")
PATIENT = ("clear_policy", "impatient")
MUCH_MEMORY = ("set_vm_memory_high_watermark", "absolute", "1GB")
NO_MEMORY = ("set_vm_memory_high_watermark", "0")
TOKENS = 1000


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitMqNode, RunningNode]]:
    folder = tmp_path_factory.mktemp("rabbitmq-impatient")
    (folder / "advanced.config").write_text(CONSUMER_TIMEOUT)
    with running_rabbitmq(folder) as node:
        yield node


@pytest.fixture
def settings(broker: tuple[RabbitMqNode, RunningNode], queue_type: QueueType) -> BrokerSettings:
    return settings_of(broker[0], queue_type, reconnect_seconds=0.2)


@pytest.fixture
async def rig(settings: BrokerSettings) -> AsyncIterator[Rig]:
    async with running_rig(RabbitmqHarness(settings)) as rig:
        yield rig


@pytest.fixture
async def relayed_rig(settings: BrokerSettings, redis_node: RedisNode) -> AsyncIterator[Rig]:
    async with running_rig(RabbitmqHarness(settings, RedisSettings(url=redis_node.url))) as rig:
        yield rig


async def submit_long(rig: Rig, *, tokens: int = TOKENS) -> tuple[Generation, list[Event]]:
    """Return a generation of some seconds that has begun, with its first events."""
    generation = await rig.submit(tokens=tokens, step_seconds=0.003, seed=0)
    return generation, await read_until_text(generation)


def check_once(events: list[Event], *, tokens: int = TOKENS) -> None:
    """Each token once, one start, one end."""
    assert text_of(events) == "".join(generate_tokens(tokens, 0))
    assert sum(isinstance(event, GenerationStarted) for event in events) == 1
    assert isinstance(events[-1], GenerationFinished)


async def check_ran_once(*workers: Worker, requests: set[str]) -> None:
    """Each request was run by one worker, to its end."""
    for worker in workers:
        await worker.ran.until(lambda: True)
    ran = [fact for worker in workers for fact in worker.ran.facts if fact.outcome != "refused"]
    assert {fact.request_id for fact in ran} == requests
    assert len(ran) == len(requests)
    assert {fact.outcome for fact in ran} == {"finished"}


@pytest.fixture
def kind(settings: BrokerSettings) -> QueueKind:
    return kind_of(settings)


@pytest.fixture
def impatient(broker: tuple[RabbitMqNode, RunningNode], kind: QueueKind) -> Iterator[None]:
    """A policy whose timeout comes before that of the queues themselves."""
    if kind.version < CONSUMER_TIMEOUT_BY_QUEUE:
        pytest.skip("before RabbitMQ 3.12 no policy has a consumer timeout")
    if kind.queue_type == "classic" and kind.version >= CLASSIC_WITHOUT_CONSUMER_TIMEOUT:
        pytest.skip("from RabbitMQ 4.3 on a classic queue has no consumer timeout")
    rabbitmqctl(broker[1], *IMPATIENT)
    yield
    rabbitmqctl(broker[1], *PATIENT)


async def outlast(rig: Rig) -> list[str]:
    """Run a generation that the broker may find too long, and return why workers lost their queue meanwhile."""
    workers = [await rig.start_worker(slots=2), await rig.start_worker(slots=2)]
    with capture_logs() as logs:
        generation, events = await submit_long(rig)
        events += await read(generation)
    check_once(events)
    # The workers take tasks again.
    assert text_of(await read(await rig.submit(text="Next."))) == "Next."
    finished = [fact.request_id for worker in workers for fact in worker.ran.facts if fact.outcome == "finished"]
    assert finished.count(generation.request_id) == 1
    return [line["reason"] for line in logs if line["event"] == "task queue lost"]


async def test_a_generation_that_outlasts_the_consumer_timeout_is_noticed_by_nobody(rig: Rig, kind: QueueKind) -> None:
    reasons = await outlast(rig)
    if kind.version < CONSUMER_TIMEOUT_BY_QUEUE:
        assert "timed out" in reasons[0]
    else:
        assert reasons == [], "the queue itself says how long it waits: longer than any generation"


@pytest.mark.usefixtures("impatient")
async def test_a_generation_that_outlasts_a_policy_of_the_operator_is_noticed_by_nobody(rig: Rig) -> None:
    # A newer broker cancels the consumer first; an older one closes its channel at once.
    assert re.search("timed out|cancelled the consumer", (await outlast(rig))[0])


async def wait_for_alarm(rig: Rig, *, is_on: bool) -> None:
    """Wait until the gateway's readiness says so."""
    async with asyncio.timeout(30):
        while True:
            try:
                await rig.transport.check()
            except TransportUnavailableError:
                if is_on:
                    return
            else:
                if not is_on:
                    return
            await asyncio.sleep(0.02)


async def test_in_a_memory_alarm_publishers_wait_and_nothing_is_lost_or_doubled(
    rig: Rig, broker: tuple[RabbitMqNode, RunningNode]
) -> None:
    worker = await rig.start_worker()
    generation, events = await submit_long(rig)
    try:
        await asyncio.to_thread(rabbitmqctl, broker[1], *NO_MEMORY)
        # The broker tells a publisher of its alarm when that publishes.
        first = await rig.submit(text="During.")
        await wait_for_alarm(rig, is_on=True)
        more = [await rig.submit(text=f"During {n}.") for n in range(3)]
    finally:
        await asyncio.to_thread(rabbitmqctl, broker[1], *MUCH_MEMORY)
    events += await read(generation)
    check_once(events)
    assert text_of(await read(first)) == "During."
    for n, waiting in enumerate(more):
        assert text_of(await read(waiting)) == f"During {n}."
    await wait_for_alarm(rig, is_on=False)
    await worker.ran.until(lambda: len(worker.ran.facts) == 5)
    await check_ran_once(
        worker, requests={generation.request_id, first.request_id, *(waiting.request_id for waiting in more)}
    )


async def test_in_a_memory_alarm_streams_end_through_the_relay(
    relayed_rig: Rig, broker: tuple[RabbitMqNode, RunningNode]
) -> None:
    worker = await relayed_rig.start_worker()
    generation, events = await submit_long(relayed_rig, tokens=2000)
    try:
        await asyncio.to_thread(rabbitmqctl, broker[1], *NO_MEMORY)
        events += await read(generation)
    finally:
        await asyncio.to_thread(rabbitmqctl, broker[1], *MUCH_MEMORY)
    check_once(events, tokens=2000)
    assert text_of(await read(await relayed_rig.submit(text="After."))) == "After."
    await worker.ran.until(lambda: len(worker.ran.facts) == 2)


async def test_a_request_that_waits_in_an_alarm_past_its_deadline_ends_there(
    rig: Rig, broker: tuple[RabbitMqNode, RunningNode]
) -> None:
    await rig.start_worker()
    try:
        await asyncio.to_thread(rabbitmqctl, broker[1], *NO_MEMORY)
        late = await rig.submit(text="Too late.", seconds=0.5)
        assert not isinstance((await read(late))[-1], GenerationFinished)
    finally:
        await asyncio.to_thread(rabbitmqctl, broker[1], *MUCH_MEMORY)
    assert text_of(await read(await rig.submit(text="In time."))) == "In time."


@pytest.mark.parametrize(
    "command",
    [
        ("close_all_connections", "a test"),
        ("eval", "[exit(Channel, kill) || Channel <- rabbit_channel:list()]."),
    ],
    ids=["connections", "channels"],
)
async def test_connections_and_channels_that_the_broker_ends_tear_no_stream(
    rig: Rig, broker: tuple[RabbitMqNode, RunningNode], command: tuple[str, ...]
) -> None:
    worker = await rig.start_worker()
    generation, events = await submit_long(rig, tokens=2000)
    await asyncio.to_thread(rabbitmqctl, broker[1], *command)
    events += await read(generation)
    check_once(events, tokens=2000)
    assert text_of(await read(await rig.submit(text="After."))) == "After."
    await worker.ran.until(lambda: len(worker.ran.facts) == 2)
    assert {fact.outcome for fact in worker.ran.facts} == {"finished"}
