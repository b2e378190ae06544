"""The contracts of a transport, with their guarantees in words. One test suite holds every implementation to them."""

from collections.abc import Sequence
from typing import Protocol

import dramatiq
from msgspec import Struct

from headrace.schema.control import ControlMessage
from headrace.schema.events import AttemptQuery, AttemptRunning, Event, ReplyItem
from headrace.schema.names import Lane
from headrace.schema.task import GenerationTask


class TransportUnavailableError(Exception):
    """The broker can't be reached now. The transport keeps trying by itself."""


class QueueDepth(Struct, frozen=True):
    """How a task queue stands, all schedulers together.

    Attributes:
        waiting: messages that no worker has taken.
        consumers: workers that take from it.
    """

    waiting: int
    consumers: int


class ReplyReceiver(Protocol):
    """The scheduler, as its transport sees it. Every method is called on the event loop and must not block."""

    def receive_replies(self, items: Sequence[ReplyItem]) -> None:
        """Take what arrived on the reply queue, in the order in which each worker wrote it."""
        ...

    def reject_task(self, request_id: str, reason: str) -> None:
        """Learn that the broker did not take a published task."""
        ...

    def lose_worker(self, worker_id: str) -> None:
        """Learn that a control message found no worker of this id."""
        ...

    def restore_reply_path(self) -> None:
        """Learn that replies arrive again after a loss: some of those sent meanwhile may be missing."""
        ...


class SchedulerTransport(Protocol):
    """What a scheduler replica needs."""

    @property
    def reply_address(self) -> str:
        """Where chunks for this replica are sent; the same for as long as it lives."""
        ...

    async def start(self, receiver: ReplyReceiver) -> None:
        """Begin to connect, and return at once. Connecting goes on, and is repeated after a loss, until `close`."""
        ...

    async def wait_ready(self) -> None:
        """Return when tasks can be published and replies can arrive; wait for as long as that takes."""
        ...

    async def add_models(self, models: Sequence[str]) -> None:
        """Have the task queues of further models; those that are known already are left alone.

        Returns when they are there, or at once while the broker is away: the next connection makes them.
        """
        ...

    def publish_task(self, task: GenerationTask, *, level: int | None = None) -> None:
        """Publish a task, or a copy of one, to its model's queue: persistent, mandatory, confirmed.

        The queue hands out the higher level first (`headrace.schema.levels`); without one it is the top of the task's
        priority. Returns before the confirm; a refusal reaches `ReplyReceiver.reject_task`. While the broker is away
        the task is kept, and published when it is back; so is one that was published and not confirmed, marked as a
        repeat.

        Raises:
            TransportUnavailableError: the transport is closed.
            CodecError: the task can't be encoded.
        """
        ...

    def withdraw_task(self, request_id: str) -> bool:
        """Publish a task no more, because nobody waits for it; tell whether it had not been sent to the broker yet."""
        ...

    async def measure_queue(self, model: str, lane: Lane) -> QueueDepth | None:
        """Return how a task queue stands; None where it is not there, or the broker is away."""
        ...

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        """Tell one worker, or with `worker_id` None every worker of the model. It may be lost.

        Where one worker is told and is known not to be there, `ReplyReceiver.lose_worker` is called.
        """
        ...

    async def check(self) -> None:
        """Raise TransportUnavailableError, with the reason, unless a task could be published now."""
        ...

    async def close(self) -> None:
        """Close the connection; the reply queue goes with it."""
        ...


class ReplyWriter(Protocol):
    """The way back for one attempt at one generation."""

    def write(self, events: Sequence[Event]) -> None:
        """Append events. Never blocks: while the path is slow or down, deltas are merged, so memory stays bounded.

        What may have been lost on the way is told again, from the start of the attempt, in a chunk that says so.
        """
        ...

    def close(self) -> None:
        """Say that nothing follows. What was written is still sent."""
        ...


class ControlReceiver(Protocol):
    """The worker, as its transport sees it. Every method is called on the event loop and must not block."""

    def receive_control(self, message: ControlMessage) -> None:
        """Take a control message."""
        ...

    def lose_readers(self, request_ids: Sequence[str]) -> None:
        """Learn that nobody reads the replies of these requests any more."""
        ...


class WorkerTransport(Protocol):
    """What a worker replica needs."""

    @property
    def broker(self) -> dramatiq.Broker:
        """Where tasks are consumed from, with priorities, a prefetch and a dead-letter queue.

        Each model has a queue for each lane. What `consume` returns can also `pause` and `resume`, `cancel` for good,
        and `requeue` at once; what was taken can be settled all the while.
        """
        ...

    async def start(self, receiver: ControlReceiver, *, worker_id: str, models: Sequence[str]) -> None:
        """Begin to connect, and return at once. Connecting goes on, and is repeated after a loss, until `close`."""
        ...

    async def wait_ready(self) -> None:
        """Return when replies can be written and control messages arrive; wait for as long as that takes."""
        ...

    def open_reply(
        self, reply_address: str, *, request_id: str, attempt: int, is_retained: bool = False
    ) -> ReplyWriter:
        """Open the way back for one attempt.

        What a retained one tells while nobody reads its address is held, merged, until `redirect` says who reads it
        now.
        """
        ...

    def redirect(self, request_id: str, reply_address: str) -> None:
        """Tell every attempt at a retained generation from its start to another address, and go on there."""
        ...

    async def wait_heard(self, request_id: str) -> None:
        """Return when nothing of a retained generation is held for want of a reader."""
        ...

    def send(self, reply_address: str, statement: AttemptQuery | AttemptRunning) -> None:
        """Ask or tell the scheduler something beside the streams. It may be lost."""
        ...

    def resend(self, request_id: str, attempt: int) -> None:
        """Tell an attempt from its start once more, if it is still remembered."""
        ...

    async def flush(self) -> None:
        """Return when everything written has been handed to the broker; wait while the connection is down."""
        ...

    async def wait_read(self) -> None:
        """Return when the broker has read everything that was written; wait while the connection is down."""
        ...

    async def close(self) -> None:
        """Flush what can leave at once, and close the connection."""
        ...
