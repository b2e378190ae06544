"""A dramatiq broker in memory, with what a real one has: priorities, prefetch, redelivery and dead letters."""

import heapq
import itertools
import time
from collections.abc import Iterable
from threading import Condition
from typing import Any

import dramatiq
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import DecodeError, QueueNotFound
from dramatiq.middleware import Middleware
from msgspec import Struct

from headrace.schema.dead_letter import DeadLetter
from headrace.transport.delivered import TaskMessage
from headrace.transport.envelope import decode_envelope


class DeadTask(Struct, frozen=True):
    """A message that is not tried again, and why."""

    body: bytes
    letter: DeadLetter


class _Entry(Struct, order=True, frozen=True):
    """One queued message; higher priority first, then the order of arrival."""

    rank: int
    number: int
    body: bytes
    redelivered: bool = False


class MemoryQueue:
    """One queue, shared by the publishing event loop and the consuming threads."""

    def __init__(self) -> None:
        self.changed = Condition()
        self.dead_letters: list[DeadTask] = []
        self.consumers = 0
        self._heap: list[_Entry] = []
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._heap)

    def join(self) -> None:
        """Count a consumer in."""
        with self.changed:
            self.consumers += 1

    def put(self, body: bytes, *, priority: int) -> None:
        """Queue a message."""
        with self.changed:
            heapq.heappush(self._heap, _Entry(-priority, next(self._numbers), body))
            self.changed.notify_all()

    def put_back(self, entry: _Entry) -> None:
        """Queue a message again in its old place, marked as redelivered."""
        with self.changed:
            heapq.heappush(self._heap, _Entry(entry.rank, entry.number, entry.body, redelivered=True))
            self.changed.notify_all()

    def bury(self, body: bytes, letter: DeadLetter) -> None:
        """Keep a message as a dead letter."""
        with self.changed:
            self.dead_letters.append(DeadTask(body, letter))

    def pop(self) -> _Entry | None:
        """Return the next message; the caller holds `changed`."""
        return heapq.heappop(self._heap) if self._heap else None

    def clear(self) -> None:
        """Drop every message."""
        with self.changed:
            self._heap.clear()


class MemoryMessage(TaskMessage):
    """A delivery of a memory queue."""

    def __init__(self, message: dramatiq.Message[Any], entry: _Entry) -> None:
        super().__init__(message, redelivered=entry.redelivered)
        self.entry = entry


class MemoryConsumer(Consumer):
    """Takes messages off one queue, never more than `prefetch` at a time without an ack."""

    def __init__(self, queue: MemoryQueue, prefetch: int, timeout_seconds: float) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._timeout_seconds = timeout_seconds
        self._unacked: dict[int, _Entry] = {}
        self._cancelled = False
        self._paused = False
        queue.join()

    def __next__(self) -> MessageProxy | None:
        """Wait for the next message; None after the timeout."""
        entry = self._take()
        if entry is None:
            return None
        try:
            message = decode_envelope(entry.body)
        except DecodeError:
            self._settle(entry)
            self._queue.bury(entry.body, DeadLetter(reason="the envelope can't be decoded", died_at=time.time()))
            return None
        return MemoryMessage(message, entry)

    def _take(self) -> _Entry | None:
        until = time.monotonic() + self._timeout_seconds
        with self._queue.changed:
            while True:
                is_open = not self._cancelled and not self._paused and len(self._unacked) < self._prefetch
                if is_open and (entry := self._queue.pop()):
                    self._unacked[entry.number] = entry
                    return entry
                left = until - time.monotonic()
                if left <= 0 or not self._queue.changed.wait(left):
                    return None

    def _settle(self, entry: _Entry) -> bool:
        with self._queue.changed:
            known = self._unacked.pop(entry.number, None) is not None
            self._queue.changed.notify_all()
            return known

    def ack(self, message: MessageProxy) -> None:
        """Forget a message that was processed."""
        if isinstance(message, MemoryMessage):
            self._settle(message.entry)

    def nack(self, message: MessageProxy) -> None:
        """Move a message to the dead letters."""
        if isinstance(message, MemoryMessage) and self._settle(message.entry):
            letter = message.dead_letter or DeadLetter(reason="rejected", died_at=time.time())
            self._queue.bury(message.entry.body, letter)

    def cancel(self) -> None:
        """Take no more; what was taken can still be acknowledged."""
        with self._queue.changed:
            self._queue.consumers -= not self._cancelled
            self._cancelled = True
            self._queue.changed.notify_all()

    def pause(self) -> None:
        """Take no more until `resume`; what was taken can still be acknowledged."""
        self._set_paused(value=True)

    def resume(self) -> None:
        """Take again."""
        self._set_paused(value=False)

    def _set_paused(self, *, value: bool) -> None:
        with self._queue.changed:
            self._paused = value
            self._queue.changed.notify_all()

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Put messages back at once; `close` puts back whatever else was not acknowledged."""
        for message in messages:
            if isinstance(message, MemoryMessage) and self._settle(message.entry):
                self._queue.put_back(message.entry)

    def close(self) -> None:
        """Put every message that was not acknowledged back into the queue."""
        self.cancel()
        with self._queue.changed:
            unacked = list(self._unacked.values())
            self._unacked.clear()
        for entry in unacked:
            self._queue.put_back(entry)


class MemoryBroker(dramatiq.Broker):
    """One worker's connection to the queues of the process.

    Args:
        queues: shared by every broker of the process.
        middleware: dramatiq middleware, if any is wanted.
    """

    def __init__(self, queues: dict[str, MemoryQueue], middleware: list[Middleware] | None = None) -> None:
        super().__init__(middleware=middleware or [])
        self.queues: dict[str, MemoryQueue] = {}
        self._shared = queues

    def declare_queue(self, queue_name: str) -> None:
        """Make a queue, unless it is there."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues[queue_name] = self._shared.setdefault(queue_name, MemoryQueue())
            self.emit_after("declare_queue", queue_name)

    def find_queue(self, queue_name: str) -> MemoryQueue:
        """Return a queue.

        Raises:
            QueueNotFound: it was never declared.
        """
        try:
            return self.queues[queue_name]
        except KeyError:
            raise QueueNotFound(queue_name) from None

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 1000) -> MemoryConsumer:
        """Open a consumer; the timeout is in milliseconds, as dramatiq has it."""
        return MemoryConsumer(self.find_queue(queue_name), prefetch, timeout / 1000)

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Queue a dramatiq message; delays are not supported."""
        if delay is not None:
            raise NotImplementedError("the memory broker has no delay queue")
        priority = int(message.options.get("broker_priority", 0))
        self.find_queue(message.queue_name).put(message.encode(), priority=priority)
        return message

    def flush(self, queue_name: str) -> None:
        """Drop every message of a queue."""
        self.find_queue(queue_name).clear()

    def flush_all(self) -> None:
        """Drop every message of every queue."""
        for queue in self.queues.values():
            queue.clear()
