"""dramatiq's RabbitMQ broker with our topology and our consumer."""

from typing import Any

import pika
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.common import q_name, xq_name
from dramatiq.middleware import Middleware

from headrace.schema.levels import CLASSIC_LEVELS
from headrace.transport.rabbitmq.consumer import RabbitmqTaskConsumer
from headrace.transport.rabbitmq.topology import dead_letter_queue_arguments, task_queue_arguments


class HeadraceRabbitmqBroker(RabbitmqBroker):
    """Consumes tasks with a consumer priority.

    It has no delay queues (nothing here is delayed), and none of dramatiq's default middleware: its time limit raises
    into the event loop's thread, and its retries would run a generation twice.

    Args:
        parameters: where the broker is.
        consumer_priority: x-priority of every consumer.
        middleware: dramatiq middleware, if any is wanted.
    """

    def __init__(
        self,
        parameters: pika.URLParameters,
        *,
        consumer_priority: int = 0,
        middleware: list[Middleware] | None = None,
    ) -> None:
        super().__init__(max_priority=CLASSIC_LEVELS.highest, middleware=middleware or [])
        self.parameters = parameters
        self.consumer_priority = consumer_priority

    def declare_queue(self, queue_name: str, *, ensure: bool = False) -> None:
        """Declare a task queue and its dead-letter queue, and no delay queue."""
        name = q_name(queue_name)
        if name not in self.queues:
            self.emit_before("declare_queue", name)
            self.queues.add(name)
            self.queues_pending.add(name)
            self.emit_after("declare_queue", name)
        if ensure:
            self._ensure_queue(name)  # pyright: ignore[reportUnknownMemberType]

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> RabbitmqTaskConsumer:
        """Open a consumer; the timeout is in milliseconds, as dramatiq has it."""
        self.declare_queue(queue_name, ensure=True)
        return RabbitmqTaskConsumer(self, queue_name, prefetch=prefetch, timeout_seconds=timeout / 1000)

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        return task_queue_arguments(queue_name)

    def _declare_dq_queue(self, queue_name: str) -> None:
        """Declare nothing: there are no delay queues."""

    def _declare_xq_queue(self, queue_name: str) -> None:
        self.channel.queue_declare(queue=xq_name(queue_name), durable=True, arguments=dead_letter_queue_arguments())
