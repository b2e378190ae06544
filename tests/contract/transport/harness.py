"""One way to make a scheduler's and a worker's side of each kind of transport, for one suite that all must pass."""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import pika
from dramatiq.broker import Consumer, MessageProxy

from headrace.schema.levels import CLASSIC_LEVELS, Levels, levels_of
from headrace.schema.names import Lane, dead_letter_queue_name, task_queue_name
from headrace.schema.settings import BrokerSettings, RedisSettings
from headrace.transport.base import SchedulerTransport, WorkerTransport
from headrace.transport.memory import MemoryHub, MemorySchedulerTransport, MemoryWorkerTransport
from headrace.transport.rabbitmq import RabbitmqSchedulerTransport, RabbitmqWorkerTransport, build_parameters
from headrace.transport.redis import RedisRelay
from headrace.transport.replies import LargeReplies
from tests.support.recorders import WAIT_SECONDS, ControlRecorder, ReplyRecorder
from tests.support.values import fresh_name


class Harness(Protocol):
    """Makes sides, and looks at the broker from outside.

    Attributes:
        levels: how its task queues divide theirs.
    """

    @property
    def levels(self) -> Levels: ...

    def scheduler_side(self, models: Sequence[str]) -> SchedulerTransport: ...

    def worker_side(self) -> WorkerTransport: ...

    def put_raw(self, model: str, body: bytes) -> None: ...

    def count_dead_letters(self, model: str) -> int: ...


class MemoryHarness:
    levels = CLASSIC_LEVELS

    def __init__(self, large: LargeReplies | None = None) -> None:
        self._hub = MemoryHub()
        self._large = large

    def scheduler_side(self, models: Sequence[str]) -> SchedulerTransport:
        return MemorySchedulerTransport(self._hub, models=models)

    def worker_side(self) -> WorkerTransport:
        return MemoryWorkerTransport(self._hub, large=self._large)

    def put_raw(self, model: str, body: bytes) -> None:
        self._hub.queues[task_queue_name(model)].put(body, priority=0)

    def count_dead_letters(self, model: str) -> int:
        return len(self._hub.queues[task_queue_name(model)].dead_letters)


class RabbitmqHarness:
    """Sides of a real broker.

    Attributes:
        settings: where it is, and what its queues are.
    """

    def __init__(
        self, settings: BrokerSettings, redis: RedisSettings | None = None, *, large: LargeReplies | None = None
    ) -> None:
        self._large = large
        self.settings = settings
        self._redis = redis
        self.levels = levels_of(settings.queue_type)

    def _relay(self) -> RedisRelay | None:
        return None if self._redis is None else RedisRelay(self._redis)

    def scheduler_side(self, models: Sequence[str]) -> SchedulerTransport:
        return RabbitmqSchedulerTransport(
            self.settings, replica_id=fresh_name("replica"), models=models, relay=self._relay()
        )

    def worker_side(self, *, consumer_priority: int = 0) -> WorkerTransport:
        return RabbitmqWorkerTransport(
            self.settings, consumer_priority=consumer_priority, relay=self._relay(), large=self._large
        )

    def put_raw(self, model: str, body: bytes) -> None:
        with pika.BlockingConnection(build_parameters(self.settings, name="test")) as connection:
            connection.channel().basic_publish("", task_queue_name(model), body)

    def count_dead_letters(self, model: str) -> int:
        with pika.BlockingConnection(build_parameters(self.settings, name="test")) as connection:
            answer = connection.channel().queue_declare(dead_letter_queue_name(model), passive=True)
            return int(answer.method.message_count)

    def count_tasks(self, model: str) -> int:
        """Tasks that the broker has and that nobody has taken."""
        with pika.BlockingConnection(build_parameters(self.settings, name="test")) as connection:
            answer = connection.channel().queue_declare(task_queue_name(model), passive=True)
            return int(answer.method.message_count)


class Sides:
    """A started pair of sides for one model, with what they received."""

    def __init__(self, harness: Harness, model: str) -> None:
        self.harness = harness
        self.model = model
        self.worker_id = fresh_name("worker")
        self.replies = ReplyRecorder()
        self.controls = ControlRecorder()
        self.scheduler = harness.scheduler_side([model])
        self.worker = harness.worker_side()
        self._consumers: list[Consumer] = []

    async def start(self) -> None:
        await self.scheduler.start(self.replies)
        await self.worker.start(self.controls, worker_id=self.worker_id, models=[self.model])
        async with asyncio.timeout(WAIT_SECONDS):
            await self.scheduler.wait_ready()
            await self.worker.wait_ready()

    @property
    def address(self) -> str:
        address = self.scheduler.reply_address
        assert address is not None
        return address

    async def open_consumer(
        self, *, prefetch: int = 1, lane: Lane = "online", side: WorkerTransport | None = None
    ) -> Consumer:
        queue_name, broker = task_queue_name(self.model, lane), (side or self.worker).broker
        broker.declare_queue(queue_name)
        consumer = await asyncio.to_thread(broker.consume, queue_name, prefetch, 200)
        self._consumers.append(consumer)
        return consumer

    async def close_consumer(self, consumer: Consumer) -> None:
        self._consumers.remove(consumer)
        await asyncio.to_thread(consumer.close)

    async def close(self) -> None:
        for consumer in list(self._consumers):
            await self.close_consumer(consumer)
        await self.worker.close()
        await self.scheduler.close()


async def take(consumer: Consumer) -> MessageProxy:
    """Return the next message of a consumer."""
    async with asyncio.timeout(WAIT_SECONDS):
        while (message := await asyncio.to_thread(next, consumer)) is None:
            pass
    return message


async def take_nothing(consumer: Consumer) -> bool:
    """Tell whether a consumer stays empty for its whole timeout, twice."""
    first = await asyncio.to_thread(next, consumer)
    return first is None and await asyncio.to_thread(next, consumer) is None
