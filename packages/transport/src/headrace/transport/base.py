"""The contracts of a transport, with their guarantees in words. One test suite holds every implementation to them."""

from collections.abc import Sequence
from typing import Protocol

import dramatiq

from headrace.schema.control import ControlMessage
from headrace.schema.events import AttemptQuery, Event, ReplyItem
from headrace.schema.task import GenerationTask


class TransportUnavailableError(Exception):
    """The broker can't be reached now. The transport keeps trying by itself."""


class ReplyReceiver(Protocol):
    """The scheduler, as its transport sees it. Every method is called on the event loop and must not block."""

    def receive_replies(self, items: Sequence[ReplyItem]) -> None:
        """Take what arrived on the reply queue, in the order in which each worker wrote it."""
        ...

    def reject_task(self, request_id: str, reason: str) -> None:
        """Learn that the broker did not take a published task."""
        ...

    def lose_reply_path(self, reply_address: str) -> None:
        """Learn that a reply queue is gone: nothing more will arrive for requests that named it."""
        ...


class SchedulerTransport(Protocol):
    """What a scheduler replica needs."""

    @property
    def reply_address(self) -> str | None:
        """The reply queue that is open now; None while there is none. It changes with each new connection."""
        ...

    async def start(self, receiver: ReplyReceiver) -> None:
        """Begin to connect, and return at once. Connecting goes on, and is repeated after a loss, until `close`."""
        ...

    async def wait_ready(self) -> None:
        """Return when tasks can be published and replies can arrive; wait for as long as that takes."""
        ...

    def publish_task(self, task: GenerationTask) -> None:
        """Publish a task to its model's queue: persistent, mandatory, confirmed.

        Returns before the confirm; a refusal reaches `ReplyReceiver.reject_task`.

        Raises:
            TransportUnavailableError: there is no connection now.
            CodecError: the task can't be encoded.
        """
        ...

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        """Tell one worker, or with `worker_id` None every worker of the model. It is lost if the connection is."""
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
        """Append events. Never blocks: while the path is slow or down, deltas are merged, so memory stays bounded."""
        ...

    def close(self) -> None:
        """Say that nothing follows. What was written is still sent."""
        ...


class ControlReceiver(Protocol):
    """The worker, as its transport sees it. Every method is called on the event loop and must not block."""

    def receive_control(self, message: ControlMessage) -> None:
        """Take a control message."""
        ...

    def lose_reply_address(self, request_ids: Sequence[str]) -> None:
        """Learn that nobody reads the replies of these requests any more."""
        ...


class WorkerTransport(Protocol):
    """What a worker replica needs."""

    @property
    def broker(self) -> dramatiq.Broker:
        """Where tasks are consumed from, with priorities, a prefetch and a dead-letter queue."""
        ...

    async def start(self, receiver: ControlReceiver, *, worker_id: str, models: Sequence[str]) -> None:
        """Begin to connect, and return at once. Connecting goes on, and is repeated after a loss, until `close`."""
        ...

    async def wait_ready(self) -> None:
        """Return when replies can be written and control messages arrive; wait for as long as that takes."""
        ...

    def open_reply(self, reply_address: str, *, request_id: str, attempt: int) -> ReplyWriter:
        """Open the way back for one attempt."""
        ...

    def send_query(self, reply_address: str, query: AttemptQuery) -> None:
        """Ask the scheduler about a redelivered task."""
        ...

    async def flush(self) -> None:
        """Return when everything written has been handed to the broker; wait while the connection is down."""
        ...

    async def close(self) -> None:
        """Flush what can leave at once, and close the connection."""
        ...
