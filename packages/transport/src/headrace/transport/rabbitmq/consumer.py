# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""A dramatiq consumer with a consumer priority that can stop taking tasks and still acknowledge what it took.

It owns one blocking connection and runs in one dramatiq thread; what settles a message, and what stops and starts the
intake, may be called from another thread. Delivery tags belong to it alone: a message is only ever settled by the
consumer object that delivered it.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import dramatiq
import pika
import structlog
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

from headrace.schema.dead_letter import HEADER, DeadLetter, decode_dead_letter
from headrace.transport.delivered import TaskMessage
from headrace.transport.envelope import decode_envelope
from headrace.transport.rabbitmq.blocking import CONNECTION_ERRORS, closing_reason_of
from headrace.transport.rabbitmq.burial import DeadTask

if TYPE_CHECKING:
    from headrace.transport.rabbitmq.broker import HeadraceRabbitmqBroker

# How long a close waits for tasks on their way to the dead letters.
BURIAL_SECONDS = 5.0
POLL_SECONDS = 0.05

_log = structlog.get_logger("headrace.rabbitmq")
_Arrival = tuple[Basic.Deliver, BasicProperties, bytes]


class RabbitmqMessage(TaskMessage):
    """A delivery off RabbitMQ, with what came."""

    def __init__(self, message: dramatiq.Message[Any], arrival: _Arrival) -> None:
        super().__init__(message, redelivered=bool(arrival[0].redelivered))
        self.arrival = arrival

    @property
    def tag(self) -> int:
        """What to settle it by."""
        return self.arrival[0].delivery_tag or 0


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
        self._arrived: deque[_Arrival] = deque()
        self._dying: set[int] = set()
        self._cancelled = False
        self._paused = False
        self._lost_queue = False
        try:
            self._connection = pika.BlockingConnection(broker.parameters)
        except CONNECTION_ERRORS as error:
            raise ConnectionClosed(error) from None
        try:
            self._channel = self._connection.channel()
            self._channel.basic_qos(prefetch_count=prefetch)
            self._channel.add_on_cancel_callback(self._on_cancelled_by_broker)
            self._consumer_tag = self._consume()
        except CONNECTION_ERRORS as error:
            self._abandon()
            raise ConnectionClosed(error) from None

    def _consume(self) -> str:
        return self._channel.basic_consume(
            self._queue_name, self._on_delivery, arguments={"x-priority": self._broker.consumer_priority}
        )

    def _on_delivery(
        self, _channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes
    ) -> None:
        self._arrived.append((method, properties, body))

    def _on_cancelled_by_broker(self, _frame: Any) -> None:
        self._lost_queue = True

    def __next__(self) -> MessageProxy | None:
        """Wait for the next task; None after the timeout."""
        try:
            if self._paused and self._consumer_tag:
                # What is on its way comes in first: pika would hand it back, and then whoever gets it has to ask.
                self._connection.process_data_events(time_limit=0)
                self._stop_consuming()
            if not self._arrived:
                self._connection.process_data_events(time_limit=self._timeout_seconds)  # pyright: ignore[reportArgumentType]
        except CONNECTION_ERRORS as error:
            raise ConnectionClosed(error) from None
        if self._lost_queue:
            # The queue was deleted under us, or (a quorum queue from 4.3 on) a delivery was not acknowledged for too
            # long: declare it again with the next consumer.
            self._broker.queues_pending.add(self._queue_name)
            raise ConnectionClosed(RuntimeError("the broker cancelled the consumer"))
        if not self._channel.is_open:
            # The broker closes a channel and leaves the connection (a delivery that was not acknowledged for too long,
            # say); what was delivered on it is delivered again.
            raise ConnectionClosed(closing_reason_of(self._channel))
        return self._decode(self._arrived.popleft()) if self._arrived else None

    def _decode(self, arrival: _Arrival) -> MessageProxy | None:
        try:
            return RabbitmqMessage(decode_envelope(arrival[2]), arrival)
        except DecodeError:
            reason = "the envelope can't be decoded"
            _log.error("task dead-lettered", queue=self._queue_name, reason=reason)
            self._bury(arrival, DeadLetter(reason=reason, died_at=time.time()))
            return None

    def _bury(self, arrival: _Arrival, letter: DeadLetter) -> None:
        """Have a task kept as a dead letter, and acknowledge it after that."""
        method, properties, body = arrival
        tag = method.delivery_tag or 0
        self._dying.add(tag)
        earlier = decode_dead_letter((properties.headers or {}).get(HEADER))
        self._broker.dead_letters.start(
            DeadTask(
                queue_name=self._queue_name,
                body=body,
                message_id=properties.message_id,
                letter=letter.after(earlier),
            ),
            on_kept=lambda: self._note_buried(tag),
            is_needed=lambda: self._channel.is_open,
        )

    def _note_buried(self, tag: int) -> None:
        # Where the connection is gone by now, the broker delivers the task again, and it is kept twice.
        with contextlib.suppress(ConnectionClosed):
            self._call_in_thread(partial(self._channel.basic_ack, tag))
        self._dying.discard(tag)

    def _call_in_thread(self, work: Callable[[], object]) -> None:
        try:
            self._connection.add_callback_threadsafe(partial(self._settle, work))
        except CONNECTION_ERRORS as error:
            raise ConnectionClosed(error) from None

    def _settle(self, work: Callable[[], object]) -> None:
        if self._channel.is_open:
            work()

    def ack(self, message: MessageProxy) -> None:
        """Acknowledge a task; if the connection is gone by now, the broker delivers it again."""
        if isinstance(message, RabbitmqMessage):
            self._call_in_thread(partial(self._channel.basic_ack, message.tag))

    def nack(self, message: MessageProxy) -> None:
        """Move a task to the dead-letter queue, with its `dead_letter`."""
        if isinstance(message, RabbitmqMessage):
            self._bury(message.arrival, message.dead_letter or DeadLetter(reason="rejected", died_at=time.time()))

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
        """Send the acks that wait, those of dead letters among them, and close the connection."""
        until = time.monotonic() + BURIAL_SECONDS
        try:
            while self._dying and self._channel.is_open and time.monotonic() < until:
                self._connection.process_data_events(time_limit=POLL_SECONDS)  # pyright: ignore[reportArgumentType]
            self._connection.process_data_events(time_limit=0)
        except CONNECTION_ERRORS as error:
            raise ConnectionClosed(error) from None
        finally:
            self._abandon()

    def _abandon(self) -> None:
        with contextlib.suppress(*CONNECTION_ERRORS):
            if self._connection.is_open:
                self._connection.close()
