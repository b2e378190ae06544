"""The transport contract, which memory and RabbitMQ pass alike."""

import asyncio
from collections.abc import AsyncIterator
from typing import get_args

import pytest
from msgspec import structs

from headrace.schema.codec import decode_task
from headrace.schema.control import AttemptGranted, AttemptRefused, CancelGeneration
from headrace.schema.events import AttemptQuery, GenerationStarted, SequenceDelta, SequenceStarted
from headrace.schema.names import LANES, Lane
from headrace.schema.settings.services import QueueType
from headrace.schema.task import GenerationTask
from headrace.transport.base import QueueDepth, TransportUnavailableError
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness, Sides, take, take_nothing
from tests.support.brokers import kind_of, need_strict_priorities, settings_of
from tests.support.recorders import ControlRecorder
from tests.support.values import fresh_name, make_task

BROKERS = [pytest.param(queue_type, marks=pytest.mark.services) for queue_type in get_args(QueueType)]


@pytest.fixture(params=["memory", *BROKERS])
def harness(request: pytest.FixtureRequest) -> Harness:
    if request.param == "memory":
        return MemoryHarness()
    return RabbitmqHarness(settings_of(request.getfixturevalue("rabbitmq_node"), request.param))


@pytest.fixture
def strict_priorities(harness: Harness) -> None:
    """Skip where the queues of this broker have none."""
    if isinstance(harness, RabbitmqHarness):
        need_strict_priorities(kind_of(harness.settings))


@pytest.fixture
async def sides(harness: Harness) -> AsyncIterator[Sides]:
    sides = Sides(harness, fresh_name("model"))
    await sides.start()
    yield sides
    await sides.close()


async def test_a_task_arrives_as_it_was_published(sides: Sides) -> None:
    task = make_task(sides.model, reply_address=sides.address)
    sides.scheduler.publish_task(task)
    consumer = await sides.open_consumer()
    message = await take(consumer)
    assert message.actor_name == "generate"
    assert message.message_id == task.request_id
    assert decode_task(message.args[0]) == task
    assert not getattr(message, "redelivered", None)


@pytest.mark.usefixtures("strict_priorities")
async def test_tasks_of_one_priority_arrive_in_order_and_a_higher_priority_overtakes(sides: Sides) -> None:
    low = [make_task(sides.model, priority=1) for _ in range(4)]
    high = make_task(sides.model, priority=9)
    for task in [*low, high]:
        sides.scheduler.publish_task(task)
    await _until_queued(sides)
    consumer = await sides.open_consumer()
    order: list[str] = []
    for _ in range(5):
        message = await take(consumer)
        order.append(message.message_id)
        consumer.ack(message)
    assert order == [high.request_id, *(task.request_id for task in low)]


async def test_a_model_that_is_added_has_its_queue_at_once(sides: Sides) -> None:
    added = fresh_name("model")
    early, late = make_task(added), make_task(added)
    sides.scheduler.publish_task(early)
    await sides.replies.until(lambda: sides.replies.rejected == [early.request_id])
    await sides.scheduler.add_models([sides.model, added])
    sides.scheduler.publish_task(late)
    await _until_queued(sides)
    assert sides.replies.rejected == [early.request_id]


@pytest.mark.usefixtures("strict_priorities")
async def test_inside_a_priority_the_higher_level_overtakes(sides: Sides) -> None:
    own = sides.harness.levels
    levels = [own.level_of(5, share) for share in (0, 1, own.top_share)] + [own.level_of(4, own.top_share)]
    tasks = {level: make_task(sides.model) for level in levels}
    for level, task in tasks.items():
        sides.scheduler.publish_task(task, level=level)
    await _until_queued(sides)
    consumer = await sides.open_consumer()
    order: list[str] = []
    for _ in levels:
        message = await take(consumer)
        order.append(message.message_id)
        consumer.ack(message)
    assert order == [tasks[level].request_id for level in sorted(levels, reverse=True)]


async def test_a_queue_says_how_many_wait_and_how_many_take(sides: Sides) -> None:
    assert await sides.scheduler.measure_queue(sides.model, "online") == QueueDepth(0, 0)
    for _ in range(3):
        sides.scheduler.publish_task(make_task(sides.model))
    await _until_depth(sides, QueueDepth(3, 0))
    consumer = await sides.open_consumer()
    message = await take(consumer)
    await _until_depth(sides, QueueDepth(2, 1))
    consumer.ack(message)
    await take(consumer)
    await _until_depth(sides, QueueDepth(1, 1))
    await sides.close_consumer(consumer)
    await _until_depth(sides, QueueDepth(2, 0))


async def _until_depth(sides: Sides, expected: QueueDepth) -> None:
    async with asyncio.timeout(10):
        depth = None
        while depth != expected:
            depth = await sides.scheduler.measure_queue(sides.model, "online")
            await asyncio.sleep(0.01)


async def test_a_queue_that_is_not_there_has_no_depth_and_harms_nothing(sides: Sides) -> None:
    for _ in range(2):
        assert await sides.scheduler.measure_queue(fresh_name("nobody"), "online") is None
    assert await sides.scheduler.measure_queue(sides.model, "online") == QueueDepth(0, 0)
    sides.scheduler.publish_task(make_task(sides.model))
    await take(await sides.open_consumer())


@pytest.mark.usefixtures("strict_priorities")
async def test_a_copy_is_another_message_of_the_same_task(sides: Sides) -> None:
    task = make_task(sides.model)
    copy = structs.replace(task, copy=2, is_repeat=True)
    sides.scheduler.publish_task(task)
    sides.scheduler.publish_task(copy, level=sides.harness.levels.highest)
    await _until_depth(sides, QueueDepth(2, 0))
    consumer = await sides.open_consumer(prefetch=2)
    messages = [await take(consumer) for _ in range(2)]
    assert [decode_task(message.args[0]) for message in messages] == [copy, task]
    assert [message.message_id for message in messages] == [task.request_id] * 2
    assert [message.options.get("copy", 0) for message in messages] == [2, 0]


async def _until_queued(sides: Sides) -> None:
    """A query written after the tasks and read back: every task before it has been queued (or is about to be)."""
    sides.worker.send(sides.address, AttemptQuery("marker", sides.worker_id))
    await sides.replies.until(lambda: any(query.request_id == "marker" for query in sides.replies.queries))
    await asyncio.sleep(0.1)  # the two sides have a connection each, so the marker may be a little ahead


async def test_no_more_than_the_prefetch_is_handed_out_without_an_ack(sides: Sides) -> None:
    for _ in range(3):
        sides.scheduler.publish_task(make_task(sides.model))
    consumer = await sides.open_consumer(prefetch=2)
    first = await take(consumer)
    await take(consumer)
    assert await take_nothing(consumer)
    consumer.ack(first)
    await take(consumer)


async def test_what_was_not_acknowledged_is_delivered_again_and_says_so(sides: Sides) -> None:
    tasks = [make_task(sides.model) for _ in range(2)]
    for task in tasks:
        sides.scheduler.publish_task(task)
    consumer = await sides.open_consumer(prefetch=2)
    consumer.ack(await take(consumer))
    await take(consumer)
    await sides.close_consumer(consumer)
    again = await take(await sides.open_consumer(prefetch=2))
    assert again.message_id == tasks[1].request_id
    assert getattr(again, "redelivered", None) is True


async def test_a_rejected_task_is_kept_as_a_dead_letter(sides: Sides) -> None:
    sides.scheduler.publish_task(make_task(sides.model))
    consumer = await sides.open_consumer()
    consumer.nack(await take(consumer))
    await _until_dead(sides, consumer)


async def test_a_body_that_is_no_envelope_is_kept_as_a_dead_letter_and_harms_nothing(sides: Sides) -> None:
    await asyncio.to_thread(sides.harness.put_raw, sides.model, b"\xc1 not an envelope")
    task = make_task(sides.model)
    sides.scheduler.publish_task(task)
    consumer = await sides.open_consumer(prefetch=2)
    assert (await take(consumer)).message_id == task.request_id
    await _until_dead(sides, consumer)


async def _until_dead(sides: Sides, consumer: object) -> None:
    async with asyncio.timeout(10):
        while await asyncio.to_thread(sides.harness.count_dead_letters, sides.model) != 1:
            await asyncio.to_thread(next, consumer)  # pyright: ignore[reportArgumentType]


async def test_a_cancelled_consumer_takes_nothing_more_and_still_acknowledges(sides: Sides) -> None:
    sides.scheduler.publish_task(make_task(sides.model))
    consumer = await sides.open_consumer(prefetch=4)
    running = await take(consumer)
    consumer.cancel()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert await take_nothing(consumer)
    later = make_task(sides.model)
    sides.scheduler.publish_task(later)
    assert await take_nothing(consumer)
    consumer.ack(running)
    await sides.close_consumer(consumer)
    left = await take(await sides.open_consumer())
    assert left.message_id == later.request_id


async def test_a_paused_consumer_takes_again_and_what_it_took_stays_its_own(sides: Sides) -> None:
    sides.scheduler.publish_task(make_task(sides.model))
    consumer = await sides.open_consumer(prefetch=4)
    running = await take(consumer)
    consumer.pause()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert await take_nothing(consumer)
    later = make_task(sides.model)
    sides.scheduler.publish_task(later)
    assert await take_nothing(consumer)
    consumer.resume()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    again = await take(consumer)
    assert again.message_id == later.request_id
    assert not getattr(again, "redelivered", None)
    consumer.ack(running)
    consumer.ack(again)
    assert await take_nothing(consumer)
    await sides.close_consumer(consumer)
    assert await take_nothing(await sides.open_consumer())


async def test_a_task_that_is_given_back_is_there_for_others_at_once(sides: Sides) -> None:
    task = make_task(sides.model)
    sides.scheduler.publish_task(task)
    consumer = await sides.open_consumer(prefetch=4)
    message = await take(consumer)
    consumer.cancel()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    assert await take_nothing(consumer)
    consumer.requeue([message])
    assert await take_nothing(consumer)
    again = await take(await sides.open_consumer())
    assert again.message_id == task.request_id
    assert getattr(again, "redelivered", None) is True


async def test_each_lane_has_a_queue_of_its_own(sides: Sides) -> None:
    tasks: dict[Lane, GenerationTask] = {lane: structs.replace(make_task(sides.model), lane=lane) for lane in LANES}
    for task in tasks.values():
        sides.scheduler.publish_task(task)
    for lane, task in tasks.items():
        consumer = await sides.open_consumer(prefetch=4, lane=lane)
        message = await take(consumer)
        assert decode_task(message.args[0]) == task
        consumer.ack(message)
        assert await take_nothing(consumer)


@pytest.mark.parametrize("harness", BROKERS, indirect=True)
@pytest.mark.parametrize("lane", LANES)
async def test_the_broker_fills_the_higher_consumer_priority_first(harness: RabbitmqHarness, lane: Lane) -> None:
    sides, faster = Sides(harness, fresh_name("model")), harness.worker_side(consumer_priority=5)
    await sides.start()
    slow = await sides.open_consumer(prefetch=2, lane=lane)
    fast = await sides.open_consumer(prefetch=2, lane=lane, side=faster)
    tasks = [structs.replace(make_task(sides.model), lane=lane) for _ in range(3)]
    for task in tasks:
        sides.scheduler.publish_task(task)
    assert [(await take(fast)).message_id for _ in range(2)] == [task.request_id for task in tasks[:2]]
    assert (await take(slow)).message_id == tasks[2].request_id
    await sides.close()
    await faster.close()


async def test_a_task_of_a_model_without_a_queue_is_rejected(sides: Sides) -> None:
    task = make_task(fresh_name("nobody"))
    sides.scheduler.publish_task(task)
    await sides.replies.until(lambda: sides.replies.rejected == [task.request_id])


async def test_events_arrive_once_in_order_with_attempt_and_offset(sides: Sides) -> None:
    writer = sides.worker.open_reply(sides.address, request_id="r", attempt=3)
    events = [GenerationStarted("w"), SequenceStarted(0), *(SequenceDelta(0, f"{n} ") for n in range(200))]
    for event in events:
        writer.write([event])
        await asyncio.sleep(0)
    await sides.replies.until(lambda: _text_of(sides, "r").endswith("199 "))
    chunks = sides.replies.chunks
    assert {chunk.attempt for chunk in chunks} == {3}
    expected = 0
    for chunk in chunks:
        assert chunk.offset == expected
        expected += len(chunk.events)
    assert _text_of(sides, "r") == "".join(f"{n} " for n in range(200))


def _text_of(sides: Sides, request_id: str) -> str:
    return "".join(e.text for e in sides.replies.events_of(request_id) if isinstance(e, SequenceDelta))


async def test_what_one_turn_of_the_loop_writes_arrives_as_one_batch(sides: Sides) -> None:
    for number in range(16):
        writer = sides.worker.open_reply(sides.address, request_id=f"r{number}", attempt=1)
        writer.write([SequenceDelta(0, "a")])
        writer.write([SequenceDelta(0, "b")])
    await sides.replies.until(lambda: len(sides.replies.chunks) == 16)
    assert len(sides.replies.batches) == 1
    assert _text_of(sides, "r7") == "ab"


async def test_replies_to_a_scheduler_that_is_gone_are_reported(sides: Sides, harness: Harness) -> None:
    address = sides.address
    await sides.scheduler.close()
    sides.worker.open_reply(address, request_id="orphan", attempt=1).write([SequenceDelta(0, "x")])
    await sides.controls.until(lambda: sides.controls.unread == ["orphan"])


async def test_a_question_to_a_scheduler_that_is_gone_is_reported(sides: Sides) -> None:
    address = sides.address
    await sides.scheduler.close()
    sides.worker.send(address, AttemptQuery("orphan", sides.worker_id))
    await sides.controls.until(lambda: sides.controls.unread == ["orphan"])
    await sides.worker.flush()


async def test_a_query_reaches_the_scheduler_and_its_answer_only_the_worker_that_asked(
    sides: Sides, harness: Harness
) -> None:
    other, other_controls = harness.worker_side(), ControlRecorder()
    await other.start(other_controls, worker_id=fresh_name("other"), models=[sides.model])
    await other.wait_ready()
    sides.worker.send(sides.address, AttemptQuery("r", sides.worker_id))
    await sides.replies.until(lambda: sides.replies.queries == [AttemptQuery("r", sides.worker_id)])
    sides.scheduler.send_control(AttemptGranted("r", 2), model="", worker_id=sides.worker_id)
    sides.scheduler.send_control(AttemptRefused("end"), model=sides.model, worker_id=None)
    await sides.controls.until(lambda: sides.controls.messages == [AttemptGranted("r", 2), AttemptRefused("end")])
    await other_controls.until(lambda: other_controls.messages == [AttemptRefused("end")])
    await other.close()


async def test_a_cancel_to_all_reaches_every_worker_of_the_model_and_no_other(sides: Sides, harness: Harness) -> None:
    elsewhere, elsewhere_controls = harness.worker_side(), ControlRecorder()
    elsewhere_id = fresh_name("elsewhere")
    await elsewhere.start(elsewhere_controls, worker_id=elsewhere_id, models=[fresh_name("other-model")])
    await elsewhere.wait_ready()
    cancel = CancelGeneration("r", 1.0)
    sides.scheduler.send_control(cancel, model=sides.model, worker_id=None)
    sides.scheduler.send_control(AttemptRefused("end"), model="", worker_id=elsewhere_id)
    await sides.controls.until(lambda: sides.controls.messages == [cancel])
    await elsewhere_controls.until(lambda: elsewhere_controls.messages == [AttemptRefused("end")])
    await elsewhere.close()


async def test_a_closed_side_says_that_it_is_unavailable(sides: Sides) -> None:
    await sides.scheduler.check()
    await sides.scheduler.close()
    assert await sides.scheduler.measure_queue(sides.model, "online") is None
    with pytest.raises(TransportUnavailableError):
        await sides.scheduler.check()
    with pytest.raises(TransportUnavailableError):
        sides.scheduler.publish_task(make_task(sides.model))
