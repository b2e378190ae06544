"""What a quorum queue makes of priorities, at whichever RabbitMQ is here: nothing, two levels, or strict ones."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest

from headrace.apps.cli.nodes import RabbitMqNode
from headrace.transport.rabbitmq.topology import QUORUM_STRICT_PRIORITIES, QUORUM_TWO_PRIORITIES, QueueKind
from tests.contract.transport.harness import RabbitmqHarness, Sides, take, take_nothing
from tests.support.brokers import kind_of, settings_of
from tests.support.values import fresh_name, make_task

pytestmark = [pytest.mark.services, pytest.mark.timeout(90)]

LOW, HIGH = 1, 8
# The limit of a quorum queue from RabbitMQ 4.0 on, where a queue does not say its own.
USUAL_DELIVERY_LIMIT = 20


@pytest.fixture
def harness(rabbitmq_node: RabbitMqNode) -> RabbitmqHarness:
    return RabbitmqHarness(settings_of(rabbitmq_node, "quorum"))


@pytest.fixture
def kind(harness: RabbitmqHarness) -> QueueKind:
    return kind_of(harness.settings)


@pytest.fixture
async def sides(harness: RabbitmqHarness) -> AsyncIterator[Sides]:
    sides = Sides(harness, fresh_name("model"))
    await sides.start()
    yield sides
    await sides.close()


def skip_before(kind: QueueKind, version: tuple[int, int]) -> None:
    if kind.version < version:
        pytest.skip(f"this is RabbitMQ {named(kind.version)}, and quorum queues do so from {named(version)} on")


def skip_from(kind: QueueKind, version: tuple[int, int]) -> None:
    if kind.version >= version:
        pytest.skip(f"this is RabbitMQ {named(kind.version)}, and quorum queues did so before {named(version)}")


def named(version: tuple[int, int]) -> str:
    major, minor = version
    return f"{major}.{minor}"


async def serve(sides: Sides, harness: RabbitmqHarness, priorities: Sequence[int]) -> list[int]:
    """Publish tasks of these priorities, take them one by one, and return the order in which they came."""
    published: dict[str, int] = {}
    for priority in priorities:
        task = make_task(sides.model, priority=priority)
        published[task.request_id] = priority
        sides.scheduler.publish_task(task)
    async with asyncio.timeout(10):
        while await asyncio.to_thread(harness.count_tasks, sides.model) != len(priorities):
            pass
    consumer = await sides.open_consumer(prefetch=1)
    served: list[int] = []
    for _ in priorities:
        message = await take(consumer)
        served.append(published[message.message_id])
        consumer.ack(message)
    return served


async def test_before_4_0_all_wait_in_one_line(sides: Sides, harness: RabbitmqHarness, kind: QueueKind) -> None:
    skip_from(kind, QUORUM_TWO_PRIORITIES)
    priorities = [LOW, LOW, HIGH, 5, 9, 0]
    assert await serve(sides, harness, priorities) == priorities


async def test_from_4_0_on_a_higher_one_overtakes_those_that_wait(
    sides: Sides, harness: RabbitmqHarness, kind: QueueKind
) -> None:
    skip_before(kind, QUORUM_TWO_PRIORITIES)
    assert await serve(sides, harness, [LOW, LOW, LOW, HIGH]) == [HIGH, LOW, LOW, LOW]


async def test_from_4_0_to_4_2_two_of_the_higher_level_go_before_one_of_the_lower(
    sides: Sides, harness: RabbitmqHarness, kind: QueueKind
) -> None:
    skip_before(kind, QUORUM_TWO_PRIORITIES)
    skip_from(kind, QUORUM_STRICT_PRIORITIES)
    served = await serve(sides, harness, [LOW] * 6 + [HIGH] * 6)
    assert served == [HIGH, HIGH, LOW] * 3 + [LOW] * 3


async def test_from_4_0_to_4_2_the_middle_is_low_and_what_is_above_it_high(
    sides: Sides, harness: RabbitmqHarness, kind: QueueKind
) -> None:
    skip_before(kind, QUORUM_TWO_PRIORITIES)
    skip_from(kind, QUORUM_STRICT_PRIORITIES)
    assert await serve(sides, harness, [5, 0, 6, 9]) == [6, 9, 5, 0]


async def test_from_4_3_on_the_highest_is_always_first(sides: Sides, harness: RabbitmqHarness, kind: QueueKind) -> None:
    skip_before(kind, QUORUM_STRICT_PRIORITIES)
    priorities = [5, 0, 9, LOW, 6, 9, 5, *range(10)]
    assert await serve(sides, harness, priorities) == sorted(priorities, reverse=True)


async def test_no_broker_counts_a_task_out_before_we_do(sides: Sides, harness: RabbitmqHarness) -> None:
    task = make_task(sides.model)
    sides.scheduler.publish_task(task)
    consumer = await sides.open_consumer(prefetch=1)
    for _ in range(USUAL_DELIVERY_LIMIT + 10):
        consumer.requeue([await take(consumer)])
    message = await take(consumer)
    assert (message.message_id, getattr(message, "redelivered", None)) == (task.request_id, True)
    consumer.ack(message)
    assert await take_nothing(consumer)
    assert await asyncio.to_thread(harness.count_dead_letters, sides.model) == 0


async def test_consumers_that_die_do_not_count_a_task_out_either(sides: Sides, harness: RabbitmqHarness) -> None:
    task = make_task(sides.model)
    sides.scheduler.publish_task(task)
    for _ in range(USUAL_DELIVERY_LIMIT + 5):
        consumer = await sides.open_consumer()
        assert (await take(consumer)).message_id == task.request_id
        await sides.close_consumer(consumer)
    assert (await take(await sides.open_consumer())).message_id == task.request_id
    assert await asyncio.to_thread(harness.count_dead_letters, sides.model) == 0
