# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""A dramatiq consumer with a consumer priority that can stop taking tasks and still acknowledge what it took.

It owns one blocking connection and runs in one dramatiq thread; what settles a message, and what stops and starts the
intake, may be called from another thread. Delivery tags belong to it alone: a message is only ever settled by the
consumer object that delivered it.
"""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import dramatiq
import pika
import pika.exceptions
import structlog
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from headrace.transport.envelope import decode_envelope

if TYPE_CHECKING:
    from headrace.transport.rabbitmq.broker import HeadraceRabbitmqBroker

_log = structlog.get_logger("headrace.rabbitmq")
# pika's blocking connection says with an AssertionError or a ValueError that it is closed already.
_CONNECTION_ERRORS = (AssertionError, ValueError, pika.exceptions.AMQPError, OSError)


class RabbitmqMessage(MessageProxy):
    """A delivery off RabbitMQ."""

    def __init__(self, message: dramatiq.Message[Any], *, tag: int, redelivered: bool) -> None:
        super().__init__(message)
        self.tag = tag
        self.redelivered = redelivered


class RabbitmqTaskConsumer(Consumer):
    """Takes tasks off one queue, never more than `prefetch` at a time without an ack.

    Raises:
        ConnectionClosed: from the constructor and from `next`: the broker is gone, and a new consumer is needed.
    """

    def __init__(
        self, broker: "HeadraceRabbitmqBroker", queue_name: str, *, prefetch: int, timeout_seconds: float
    ) -> None:
        self._broker = broker
        self._queue_name = queue_name
        self._timeout_seconds = timeout_seconds
        self._arrived: deque[tuple[Basic.Deliver, bytes]] = deque()
        self._cancelled = False
        self._paused = False
        self._lost_queue = False
        try:
            self._connection = pika.BlockingConnection(broker.parameters)
        except _CONNECTION_ERRORS as error:
            raise ConnectionClosed(error) from None
        try:
            self._channel = self._connection.channel()
            self._channel.basic_qos(prefetch_count=prefetch)
            self._channel.add_on_cancel_callback(self._on_cancelled_by_broker)
            self._consumer_tag = self._consume()
        except _CONNECTION_ERRORS as error:
            self._abandon()
            raise ConnectionClosed(error) from None

    def _consume(self) -> str:
        return self._channel.basic_consume(
            self._queue_name, self._on_delivery, arguments={"x-priority": self._broker.consumer_priority}
        )

    def _on_delivery(
        self, _channel: BlockingChannel, method: Basic.Deliver, _properties: BasicProperties, body: bytes
    ) -> None:
        self._arrived.append((method, body))

    def _on_cancelled_by_broker(self, _frame: Any) -> None:
        self._lost_queue = True

    def __next__(self) -> MessageProxy | None:
        """Wait for the next task; None after the timeout."""
        try:
            if self._paused and self._consumer_tag:
                # What is on its way comes in first: pika would hand it back, and then it counts as a lost attempt.
                self._connection.process_data_events(time_limit=0)
                self._stop_consuming()
            if not self._arrived:
                self._connection.process_data_events(time_limit=self._timeout_seconds)  # pyright: ignore[reportArgumentType]
        except _CONNECTION_ERRORS as error:
            raise ConnectionClosed(error) from None
        if self._lost_queue:
            # The queue was deleted under us: declare it again with the next consumer.
            self._broker.queues_pending.add(self._queue_name)
            raise ConnectionClosed(RuntimeError("the broker cancelled the consumer"))
        if not self._arrived:
            return None
        method, body = self._arrived.popleft()
        return self._decode(method, body)

    def _decode(self, method: Basic.Deliver, body: bytes) -> MessageProxy | None:
        tag = method.delivery_tag or 0
        try:
            message = decode_envelope(body)
        except DecodeError:
            _log.error("task dead-lettered", queue=self._queue_name, reason="the envelope can't be decoded")
            self._channel.basic_nack(tag, requeue=False)
            return None
        return RabbitmqMessage(message, tag=tag, redelivered=bool(method.redelivered))

    def _call_in_thread(self, work: Callable[[], object]) -> None:
        try:
            self._connection.add_callback_threadsafe(partial(self._settle, work))
        except _CONNECTION_ERRORS as error:
            raise ConnectionClosed(error) from None

    def _settle(self, work: Callable[[], object]) -> None:
        if self._channel.is_open:
            work()

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a task; if the connection is gone by now, the broker delivers it again."""
        if isinstance(message, RabbitmqMessage):
            self._call_in_thread(partial(self._channel.basic_ack, message.tag))

    def nack(self, message: MessageProxy) -> None:
        """Move a task to the dead-letter queue."""
        if isinstance(message, RabbitmqMessage):
            self._call_in_thread(partial(self._channel.basic_nack, message.tag, requeue=False))

    def cancel(self) -> None:
        """Take no more tasks; those taken can still be acknowledged."""
        self._cancelled = True
        self._call_in_thread(self._stop_consuming)

    def pause(self) -> None:
        """Take no more tasks until `resume`; those taken can still be acknowledged. Takes effect with the next wait."""
        self._paused = True

    def resume(self) -> None:
        """Take tasks again, on the same channel: the tags of those in hand stay valid."""
        self._paused = False
        self._call_in_thread(self._consume_again)

    def _consume_again(self) -> None:
        if not (self._consumer_tag or self._paused or self._cancelled):
            self._consumer_tag = self._consume()

    def _stop_consuming(self) -> None:
        if self._consumer_tag:
            tag, self._consumer_tag = self._consumer_tag, ""
            self._channel.basic_cancel(tag)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Give tasks back at once; the broker takes whatever else was not acknowledged when the connection closes."""
        for message in messages:
            if isinstance(message, RabbitmqMessage):
                self._call_in_thread(partial(self._channel.basic_nack, message.tag, requeue=True))

    def close(self) -> None:
        """Send the acks that wait, and close the connection."""
        try:
            self._connection.process_data_events(time_limit=0)
        except _CONNECTION_ERRORS as error:
            raise ConnectionClosed(error) from None
        finally:
            self._abandon()

    def _abandon(self) -> None:
        with contextlib.suppress(*_CONNECTION_ERRORS):
            if self._connection.is_open:
                self._connection.close()
