"""A dramatiq worker whose messages run on the event loop.

dramatiq's own worker holds one thread for each message; this one holds one thread for each queue, and a message is a
task on the loop. Broker, message and middleware semantics are dramatiq's: the same signals are emitted in the same
order. What it adds is what a generation needs: a message that is redelivered while it runs here is not run twice, one
that has finished here is acknowledged again and not run, and `drain` lets what runs finish.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from dramatiq import Broker, Worker
from dramatiq.middleware import SkipMessage

from headrace.schema.codec import CodecError
from headrace.schema.dead_letter import DeadLetter
from headrace.transport.tasks import TaskOwner
from headrace.worker.consumer_thread import LoopConsumerThread
from headrace.worker.delivery import Delivery, MessageKey, current_delivery
from headrace.worker.engines.base import EngineDeadError
from headrace.worker.execution import DeadLetterError, SupersededError

POLL_MS = 250
REMEMBERED_MESSAGES = 10_000

_log = structlog.get_logger("headrace.worker")


class LoopWorker(Worker):
    """Runs actors' coroutines on the event loop.

    Args:
        broker: where messages come from.
        queues: the queues to consume, with the prefetch of each.
        on_unsettled: called when a message was given up without a settlement, because the engine died.
    """

    def __init__(self, broker: Broker, *, queues: dict[str, int], on_unsettled: Callable[[], None]) -> None:
        super().__init__(broker, queues=set(queues), worker_timeout=POLL_MS, worker_threads=1)
        self._prefetch = queues
        self._threads: dict[str, LoopConsumerThread] = {}
        self._consuming: dict[str, asyncio.Event] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks = TaskOwner()
        self._running: dict[MessageKey, Delivery] = {}
        # A dead letter may not have been kept yet when its task comes again: it is settled as it was before.
        self._finished: OrderedDict[MessageKey, DeadLetter | None] = OrderedDict()
        self._on_unsettled = on_unsettled
        self._is_draining = False

    def _add_worker(self) -> None:
        """Start no worker thread: the loop is the worker."""

    def _add_consumer(self, queue_name: str, *, delay: bool = False) -> None:
        if delay or queue_name not in self._prefetch or queue_name in self._threads:
            return
        consuming = self._consuming[queue_name] = asyncio.Event()
        thread = LoopConsumerThread(
            self.broker,
            queue_name=queue_name,
            prefetch=self._prefetch[queue_name],
            poll_ms=POLL_MS,
            hand_over=self._hand_over,
            on_consuming=lambda: self._call_on_loop(consuming.set),
        )
        self._threads[queue_name] = thread
        self.consumers[queue_name] = thread
        thread.start()

    async def wait_consuming(self) -> None:
        """Return when every queue has been consumed once."""
        for consuming in self._consuming.values():
            await consuming.wait()

    @property
    def running_count(self) -> int:
        """Messages being processed."""
        return len(self._running)

    def _hand_over(self, delivery: Delivery) -> None:
        self._call_on_loop(self._begin, delivery)

    def _call_on_loop(self, work: Callable[..., None], *arguments: Any) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(work, *arguments)

    def _begin(self, delivery: Delivery) -> None:
        message_id, key = delivery.message.message_id, delivery.key
        if key in self._finished:
            _log.info("redelivered task was already done", request_id=message_id)
            if (letter := self._finished[key]) is not None:
                delivery.fail(letter)
            delivery.settle()
        elif (held := self._running.get(key)) is not None and held.shares_consumer(delivery):
            # Published twice, because the first was not confirmed: the broker holds both for us, and one will do.
            delivery.settle()
        elif held is not None:
            # The broker forgot the first delivery; from now on this one is what will be acknowledged.
            _log.info("redelivered task is still running", request_id=message_id)
            self._running[key] = delivery
        else:
            self._running[key] = delivery
            self._tasks.start(self._process(delivery), name=f"generation {message_id}")

    async def _process(self, delivery: Delivery) -> None:
        key = delivery.key
        try:
            letter = await self._run_actor(delivery)
        except SupersededError:
            # Not remembered: if the worker that runs it is lost as well, this message may come again.
            self._running.pop(key, delivery).settle()
            return
        except (EngineDeadError, asyncio.CancelledError) as error:
            # Not settled: the broker gives it to another worker when our connection closes, if not before.
            latest = self._running.pop(key, delivery)
            if isinstance(error, EngineDeadError):
                self._on_unsettled()
                return
            if self._is_draining:
                latest.give_back()
            raise
        latest = self._running.pop(key, delivery)
        if letter is not None:
            latest.fail(letter)
        self._remember(key, letter)
        latest.settle()

    async def _run_actor(self, delivery: Delivery) -> DeadLetter | None:
        """Run a message to its end; return why it is not to be tried again, if so."""
        message = delivery.message
        current_delivery.set(delivery)
        try:
            self.broker.emit_before("process_message", message)
            if not message.failed:
                # dramatiq wraps a coroutine function so that it blocks a thread; the loop runs the one underneath.
                actor: Any = self.broker.get_actor(message.actor_name)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
                await actor.fn.__wrapped__(*message.args, **message.kwargs)
            self.broker.emit_after("process_message", message, result=None)
        except SkipMessage:
            self.broker.emit_after("skip_message", message)
        except (EngineDeadError, SupersededError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 - the actor's edge: whatever it raises, the task is dead-lettered
            if isinstance(error, CodecError | DeadLetterError):
                _log.error("task dead-lettered", request_id=message.message_id, reason=str(error))
            else:
                _log.exception("task dead-lettered", request_id=message.message_id)
            message.fail()
            self.broker.emit_after("process_message", message, exception=error)
            return _letter_for(error)
        return None

    def _remember(self, key: MessageKey, letter: DeadLetter | None) -> None:
        self._finished[key] = letter
        if len(self._finished) > REMEMBERED_MESSAGES:
            self._finished.popitem(last=False)

    def set_intake(self, queue_name: str, *, is_open: bool) -> None:
        """Take messages off a queue, or none for the time being. Never blocks."""
        if (thread := self._threads.get(queue_name)) is not None:
            thread.set_intake(is_open=is_open)

    def stop_intake(self) -> None:
        """Take no more messages. What is cancelled from now on goes back to its queue at once."""
        self._is_draining = True
        for thread in self._threads.values():
            thread.cancel()

    async def drain(self, *, seconds: float, hand_back: Callable[[Sequence[str]], None]) -> None:
        """Let what runs finish, and close.

        Args:
            seconds: how long what runs may go on.
            hand_back: called with the ids of what still runs after that; it must end them soon.
        """
        self.broker.emit_before("worker_shutdown", self)
        self.stop_intake()
        try:
            async with asyncio.timeout(seconds):
                await self._tasks.join()
        except TimeoutError:
            hand_back([message_id for message_id, _copy in self._running])
            await self._tasks.join()
        await self._tasks.close()
        await asyncio.to_thread(self._stop_threads)
        self.broker.emit_after("worker_shutdown", self)

    def _stop_threads(self) -> None:
        for thread in self._threads.values():
            thread.stop()
        for thread in self._threads.values():
            thread.join()
            thread.close()


def _letter_for(error: Exception) -> DeadLetter:
    attempts = error.attempts if isinstance(error, DeadLetterError) else ()
    # Of an error that nobody planned for only the kind is kept: its words may hold a part of a prompt.
    reason = str(error) if isinstance(error, CodecError | DeadLetterError) else f"unexpected {type(error).__name__}"
    return DeadLetter(reason=reason, died_at=time.time(), attempts=attempts)
