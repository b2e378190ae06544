"""Both kinds of task queues on a real broker, and what is said where a queue exists with other arguments."""

import asyncio
from collections.abc import AsyncIterator
from typing import get_args

import msgspec
import pika
import pytest
from structlog.testing import capture_logs

from headrace.apps.cli.doctor import findings
from headrace.schema.names import LANES, task_queue_name
from headrace.schema.settings import BrokerSettings
from headrace.schema.settings.services import QueueType
from headrace.transport.base import TransportUnavailableError
from headrace.transport.rabbitmq import (
    DeadLetterBox,
    RabbitmqSchedulerTransport,
    RabbitmqWorkerTransport,
    build_parameters,
    inspect_broker,
)
from headrace.transport.rabbitmq.topology import (
    CLASSIC_WITHOUT_CONSUMER_TIMEOUT,
    QueueKind,
    dead_letter_queue_arguments,
    task_queue_arguments,
)
from headrace.worker.engines.scripted.tokens import generate_tokens
from tests.contract.transport.harness import RabbitmqHarness, Sides, take
from tests.integration.path.rig import Rig, read, read_until_text, running_rig, text_of
from tests.support.brokers import kind_of
from tests.support.recorders import ControlRecorder, ReplyRecorder
from tests.support.values import fresh_name, make_task

pytestmark = [pytest.mark.services, pytest.mark.timeout(90)]

VERSIONS = ((3, 10), (3, 13), (4, 0), (4, 3))


@pytest.fixture
def classic_settings(broker_settings: BrokerSettings) -> BrokerSettings:
    return msgspec.structs.replace(broker_settings, queue_type="classic")


@pytest.fixture
def quorum_settings(broker_settings: BrokerSettings) -> BrokerSettings:
    return msgspec.structs.replace(broker_settings, queue_type="quorum")


@pytest.fixture
async def rig(quorum_settings: BrokerSettings) -> AsyncIterator[Rig]:
    async with running_rig(RabbitmqHarness(quorum_settings)) as rig:
        yield rig


async def test_a_quorum_queue_carries_generations_hands_over_and_keeps_dead_letters(
    rig: Rig, quorum_settings: BrokerSettings
) -> None:
    first = await rig.start_worker(slots=2, drain_seconds=0.2)
    generation = await rig.submit(tokens=300, step_seconds=0.003, seed=0)
    events = await read_until_text(generation)
    first.stop.set()
    await first.wait_ended()
    await rig.start_worker()
    events += await read(generation)
    assert text_of(events) == "".join(generate_tokens(300, 0))
    await asyncio.to_thread(rig.harness.put_raw, rig.model, b"no envelope")
    box, queue_name = DeadLetterBox(quorum_settings), task_queue_name(rig.model)
    async with asyncio.timeout(15):
        while not await asyncio.to_thread(box.browse, queue_name):
            pass
    # However often somebody looks, it stays.
    seen = [await asyncio.to_thread(box.browse, queue_name) for _ in range(25)]
    assert {len(found) for found in seen} == {1}
    assert await asyncio.to_thread(box.drop, queue_name, seen[0][0].id) == 1


async def test_both_sides_declare_the_queues_of_both_lanes(broker_settings: BrokerSettings) -> None:
    """And whoever comes first, the other one agrees."""
    for first in ("scheduler", "worker"):
        model = fresh_name("model")
        scheduler = RabbitmqSchedulerTransport(broker_settings, replica_id=fresh_name("r"), models=[model])
        worker = RabbitmqWorkerTransport(broker_settings)
        async with asyncio.timeout(20):
            for side in ("scheduler", "worker") if first == "scheduler" else ("worker", "scheduler"):
                if side == "scheduler":
                    await scheduler.start(ReplyRecorder())
                    await scheduler.wait_ready()
                else:
                    await worker.start(ControlRecorder(), worker_id=fresh_name("w"), models=[model])
                    await worker.wait_ready()
                assert await asyncio.to_thread(_existing, broker_settings, model) == 4
        await worker.close()
        await scheduler.close()


def _existing(settings: BrokerSettings, model: str) -> int:
    with pika.BlockingConnection(build_parameters(settings, name="test")) as connection:
        channel = connection.channel()
        names = [task_queue_name(model, lane) + suffix for lane in LANES for suffix in ("", ".XQ")]
        return len([channel.queue_declare(name, passive=True) for name in names])


@pytest.mark.parametrize("declared", get_args(QueueType))
def test_an_update_of_the_broker_finds_its_queues_as_they_are(
    broker_settings: BrokerSettings, declared: QueueType
) -> None:
    """What an older broker was told, and what a newer one will be, is the same queue to this one."""
    own = kind_of(broker_settings).version
    name = task_queue_name(fresh_name("model"))
    with pika.BlockingConnection(build_parameters(broker_settings, name="test")) as connection:
        channel = connection.channel()
        for version in (own, *VERSIONS):
            kind = QueueKind(declared, version)
            arguments = task_queue_arguments(name, kind)
            if version != own and own >= CLASSIC_WITHOUT_CONSUMER_TIMEOUT and declared == "classic":
                # It refuses the word, though not a queue that had it before.
                arguments.pop("x-consumer-timeout", None)
            channel.queue_declare(name, durable=True, arguments=arguments)
            channel.queue_declare(f"{name}.XQ", durable=True, arguments=dead_letter_queue_arguments(kind))


async def test_a_queue_of_another_type_is_said_by_gateway_worker_and_doctor_and_not_tried_in_silence(
    classic_settings: BrokerSettings, quorum_settings: BrokerSettings
) -> None:
    model = fresh_name("model")
    sides = Sides(RabbitmqHarness(classic_settings), model)
    await sides.start()
    await sides.close()
    with capture_logs() as logs:
        scheduler = RabbitmqSchedulerTransport(quorum_settings, replica_id=fresh_name("r"), models=[model])
        worker = RabbitmqWorkerTransport(quorum_settings)
        await scheduler.start(ReplyRecorder())
        await worker.start(ControlRecorder(), worker_id=fresh_name("w"), models=[model])
        async with asyncio.timeout(20):
            while sum(line["event"] == "queue refused" for line in logs) < 2:
                await asyncio.to_thread(len, logs)
        with pytest.raises(TransportUnavailableError, match=r"set broker\.queue_type"):
            await scheduler.check()
        await worker.close()
        await scheduler.close()
    said = [line["reason"] for line in logs if line["event"] == "queue refused"]
    assert all(reason.startswith(f"the queue {task_queue_name(model)} exists with ") for reason in said)
    facts = await asyncio.to_thread(inspect_broker, quorum_settings, [model])
    assert len(facts.refusals) == 4
    assert {finding.status for finding in findings.judge_queues(facts, longest_request_seconds=1.0)} == {"failed"}
    assert (await asyncio.to_thread(inspect_broker, classic_settings, [model])).refusals == ()


async def test_a_quorum_queue_serves_in_order(quorum_settings: BrokerSettings) -> None:
    sides = Sides(RabbitmqHarness(quorum_settings), fresh_name("model"))
    await sides.start()
    tasks = [make_task(sides.model) for _ in range(3)]
    for task in tasks:
        sides.scheduler.publish_task(task)
    consumer = await sides.open_consumer(prefetch=3)
    assert [(await take(consumer)).message_id for _ in range(3)] == [task.request_id for task in tasks]
    await sides.close()
