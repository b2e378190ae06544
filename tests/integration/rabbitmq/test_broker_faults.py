"""What only a real broker can do: prefer a consumer, be absent, and go away."""

import asyncio
from collections.abc import Iterator

import pytest

from headrace.apps.cli.nodes import RabbitMqNode, RunningNode, free_ports, running_rabbitmq
from headrace.schema.names import task_queue_name
from headrace.schema.settings import BrokerSettings
from headrace.schema.settings.services import QueueType
from headrace.transport.base import TransportUnavailableError
from headrace.transport.rabbitmq import RabbitmqSchedulerTransport, RabbitmqWorkerTransport
from tests.contract.transport.harness import RabbitmqHarness, Sides, take, take_nothing
from tests.support.brokers import settings_of
from tests.support.recorders import ReplyRecorder
from tests.support.values import fresh_name, make_task

pytestmark = pytest.mark.services


async def test_the_consumer_with_the_higher_priority_is_filled_first(broker_settings: BrokerSettings) -> None:
    sides = Sides(RabbitmqHarness(broker_settings), fresh_name("model"))
    await sides.start()
    fast = RabbitmqWorkerTransport(broker_settings, consumer_priority=10)
    slow_consumer = await sides.open_consumer(prefetch=2)
    queue_name = task_queue_name(sides.model)
    fast_consumer = await asyncio.to_thread(fast.broker.consume, queue_name, 2, 200)
    tasks = [make_task(sides.model) for _ in range(3)]
    for task in tasks:
        sides.scheduler.publish_task(task)
    assert (await take(fast_consumer)).message_id == tasks[0].request_id
    assert (await take(fast_consumer)).message_id == tasks[1].request_id
    assert (await take(slow_consumer)).message_id == tasks[2].request_id
    assert await take_nothing(fast_consumer)
    await asyncio.to_thread(fast_consumer.close)
    await fast.close()
    await sides.close()


async def test_a_broker_that_is_absent_is_reported_and_no_task_is_taken() -> None:
    settings = BrokerSettings(url=f"amqp://127.0.0.1:{free_ports(1)[0]}/%2F")
    transport = RabbitmqSchedulerTransport(settings, replica_id="r", models=["m"])
    await transport.start(ReplyRecorder())
    with pytest.raises(TransportUnavailableError):
        await transport.check()
    task = make_task()
    transport.publish_task(task)
    assert transport.withdraw_task(task.request_id), "it was kept, and never sent"
    await transport.close()


@pytest.fixture
def own_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RabbitMqNode, RunningNode]]:
    """A node that a test may kill."""
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq-own")) as node:
        yield node


@pytest.mark.timeout(120)
async def test_a_broker_that_restarts_is_found_again_and_keeps_its_tasks(
    own_node: tuple[RabbitMqNode, RunningNode], queue_type: QueueType
) -> None:
    node, process = own_node
    harness = RabbitmqHarness(settings_of(node, queue_type, reconnect_seconds=0.2))
    sides = Sides(harness, fresh_name("model"))
    await sides.start()
    task = make_task(sides.model)
    sides.scheduler.publish_task(task)
    while await asyncio.to_thread(harness.count_tasks, sides.model) != 1:
        pass
    await asyncio.to_thread(process.stop)
    with pytest.raises(TransportUnavailableError):
        await sides.scheduler.check()
    meanwhile = make_task(sides.model)
    sides.scheduler.publish_task(meanwhile)
    await asyncio.to_thread(process.start)
    await sides.replies.until(lambda: sides.replies.restored == 1)
    consumer = await sides.open_consumer(prefetch=2)
    assert {(await take(consumer)).message_id for _ in range(2)} == {task.request_id, meanwhile.request_id}
    await sides.close()
    log = await asyncio.to_thread(process.log.read_text)
    assert "is deprecated" not in log, "a newer broker would refuse it"
