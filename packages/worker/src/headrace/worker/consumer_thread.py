"""dramatiq's consumer thread, handing messages to the event loop instead of to worker threads.

It keeps what dramatiq's does well (heartbeats, acknowledgements, reconnecting) and changes three things: a message goes
to the loop together with the consumer that delivered it; a lost broker is tried again after a pause that `stop` can
end; and `cancel` stops the intake while what runs can still be acknowledged, as `set_intake` does for a time.
"""

import contextlib
import time
from collections.abc import Callable
from queue import PriorityQueue
from threading import Event
from typing import Any

import structlog
from dramatiq import Broker
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ActorNotFound, BrokerConnectionError
from dramatiq.worker import ConsumerThread

from headrace.schema.dead_letter import DeadLetter
from headrace.worker.delivery import Delivery

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0

_log = structlog.get_logger("headrace.worker")


class LoopConsumerThread(ConsumerThread):
    """Consumes one queue and hands each delivery over.

    Args:
        broker: where from.
        queue_name: the queue.
        prefetch: deliveries at once.
        poll_ms: how often it looks whether it should stop.
        hand_over: called in this thread with each delivery; it must only pass it on.
        on_consuming: called in this thread each time that the queue is being consumed.
    """

    def __init__(
        self,
        broker: Broker,
        *,
        queue_name: str,
        prefetch: int,
        poll_ms: int,
        hand_over: Callable[[Delivery], None],
        on_consuming: Callable[[], None],
    ) -> None:
        unused: PriorityQueue[Any] = PriorityQueue()
        super().__init__(
            broker=broker, queue_name=queue_name, prefetch=prefetch, work_queue=unused, worker_timeout=poll_ms
        )
        self._hand_over = hand_over
        self._on_consuming = on_consuming
        self._stopped = Event()
        self._cancelled = Event()
        self._intake_paused = False

    def run(self) -> None:
        """Consume until `stop`, opening a new consumer whenever the broker was lost."""
        self.running = True
        self.broker.emit_after("consumer_thread_boot", self)
        pause, said = FIRST_PAUSE_SECONDS, ""
        while not self._stopped.is_set():
            try:
                self.consumer = self.broker.consume(self.queue_name, self.prefetch, self.worker_timeout)
                pause, said = FIRST_PAUSE_SECONDS, ""
                self._consume(self.consumer)
            except BrokerConnectionError as error:
                if str(error) != said:
                    # Said once for each reason: a broker that stays away would fill the log.
                    said = str(error)
                    _log.warning("task queue lost", queue=self.queue_name, reason=said)
            except Exception:  # noqa: BLE001 - the thread's edge: whatever a broker library raises, consuming goes on
                _log.exception("task queue failed", queue=self.queue_name)
            if not self._stopped.is_set():
                self._drop_consumer()
                self._stopped.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        self.broker.emit_before("consumer_thread_shutdown", self)

    def _consume(self, consumer: Consumer) -> None:
        self._on_consuming()
        if self._cancelled.is_set():
            self._cancel_consumer(consumer)
        if self._intake_paused:
            _call_if_there(consumer, "pause")
        while not self._stopped.is_set():
            message = next(consumer)
            if message is not None:
                self._accept(message, consumer)

    def _accept(self, message: MessageProxy, consumer: Consumer) -> None:
        delivery = Delivery(message, consumer=consumer, broker=self.broker)
        try:
            self.broker.get_actor(message.actor_name)  # pyright: ignore[reportUnknownMemberType]
        except ActorNotFound:
            reason = f"no actor {message.actor_name!r}"
            _log.error("task dead-lettered", queue=self.queue_name, reason=reason)
            delivery.fail(DeadLetter(reason=reason, died_at=time.time()))
            delivery.settle()
            return
        self._hand_over(delivery)

    def cancel(self) -> None:
        """Take no more messages; may be called from another thread."""
        self._cancelled.set()
        if self.consumer is not None:
            try:
                self._cancel_consumer(self.consumer)
            except BrokerConnectionError as error:
                _log.warning("task queue lost", queue=self.queue_name, reason=str(error))

    def set_intake(self, *, is_open: bool) -> None:
        """Take messages, or none for the time being; may be called from another thread."""
        self._intake_paused = not is_open
        if (consumer := self.consumer) is not None:
            # A broker that is lost is found out by the thread, which opens the next consumer as it should be.
            with contextlib.suppress(BrokerConnectionError):
                _call_if_there(consumer, "resume" if is_open else "pause")

    @staticmethod
    def _cancel_consumer(consumer: Consumer) -> None:
        _call_if_there(consumer, "cancel")

    def stop(self) -> None:
        """End the thread; may be called from another thread."""
        self.running = False
        self._stopped.set()

    def _drop_consumer(self) -> None:
        consumer, self.consumer = self.consumer, None
        if consumer is None:
            return
        try:
            consumer.close()
        except Exception as error:  # noqa: BLE001 - the thread's edge: a consumer that can't be closed is given up
            _log.debug("consumer was already closed", queue=self.queue_name, reason=str(error))

    def close(self) -> None:
        """Close the consumer; what was not acknowledged goes back to its queue. Call it after the thread has ended."""
        self._drop_consumer()


def _call_if_there(consumer: Consumer, name: str) -> None:
    method: Callable[[], None] | None = getattr(consumer, name, None)
    if method is not None:
        method()
