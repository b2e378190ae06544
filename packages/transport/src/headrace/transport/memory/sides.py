"""The scheduler's and the worker's side of the memory transport."""

import asyncio
from collections.abc import Sequence

import dramatiq

from headrace.schema.codec import encode_control
from headrace.schema.control import ControlMessage
from headrace.schema.events import AttemptQuery, AttemptRunning
from headrace.schema.levels import CLASSIC_LEVELS
from headrace.schema.names import Lane, task_queue_name
from headrace.schema.task import GenerationTask
from headrace.transport.base import (
    ControlReceiver,
    QueueDepth,
    ReplyReceiver,
    ReplyWriter,
    TransportUnavailableError,
)
from headrace.transport.envelope import build_envelope, use_msgpack_envelopes
from headrace.transport.memory.hub import MemoryHub
from headrace.transport.replies import BrokerState, LargeReplies, ReplyOutbox


class MemorySchedulerTransport:
    """`SchedulerTransport` in one process."""

    def __init__(self, hub: MemoryHub, *, models: Sequence[str]) -> None:
        self._hub = hub
        self._models: Sequence[str] = list(models)
        self._receiver: ReplyReceiver | None = None
        self._address = hub.new_reply_address()

    @property
    def reply_address(self) -> str:
        """The reply queue; it is there from `start` to `close`."""
        return self._address

    async def start(self, receiver: ReplyReceiver) -> None:
        """Open the reply queue and the task queues."""
        use_msgpack_envelopes()
        self._hub.declare_models(self._models)
        self._receiver = receiver
        self._hub.open_reply_queue(self._address, receiver)

    async def wait_ready(self) -> None:
        """Return: a started memory transport is ready."""
        await self.check()

    async def add_models(self, models: Sequence[str]) -> None:
        """Make the task queues of further models."""
        self._models = [*self._models, *(model for model in models if model not in self._models)]
        if self._receiver is not None:
            for model in models:
                self._hub.declare_queue(task_queue_name(model))

    def publish_task(self, task: GenerationTask, *, level: int | None = None) -> None:
        """Queue a task."""
        if self._receiver is None:
            raise TransportUnavailableError("the memory transport is closed")
        queue = self._hub.queues.get(task.queue)
        if queue is None:
            reject = self._receiver.reject_task
            asyncio.get_running_loop().call_soon(reject, task.request_id, "the model has no task queue")
            return
        top = CLASSIC_LEVELS.level_of(task.priority, CLASSIC_LEVELS.top_share)
        queue.put(build_envelope(task), priority=top if level is None else level)

    def withdraw_task(self, request_id: str) -> bool:  # noqa: ARG002 - a task is in its queue at once
        """Nothing to do."""
        return False

    async def measure_queue(self, model: str, lane: Lane) -> QueueDepth | None:
        """Look at a queue of the hub."""
        queue = self._hub.queues.get(task_queue_name(model, lane))
        return None if queue is None or self._receiver is None else QueueDepth(len(queue), queue.consumers)

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        """Deliver a control message at once."""
        got_there = self._hub.deliver_control(encode_control(message), model=model, worker_id=worker_id)
        if not got_there and worker_id is not None and self._receiver is not None:
            asyncio.get_running_loop().call_soon(self._receiver.lose_worker, worker_id)

    async def check(self) -> None:
        """Raise unless it is started."""
        if self._receiver is None:
            raise TransportUnavailableError("the memory transport is closed")

    async def close(self) -> None:
        """Close the reply queue."""
        self._hub.close_reply_queue(self._address)
        self._receiver = None


class MemoryWorkerTransport:
    """`WorkerTransport` in one process.

    Args:
        hub: where the scheduler is met.
        large: the way of chunks above a size, for those who want it here too.
    """

    def __init__(self, hub: MemoryHub, *, large: LargeReplies | None = None) -> None:
        self._hub = hub
        self._broker = hub.open_broker()
        self._outbox = ReplyOutbox(self._publish, lambda: BrokerState.OPEN, on_unread=self._lose_readers, large=large)
        self._receiver: ControlReceiver | None = None
        self._worker_id = ""

    @property
    def broker(self) -> dramatiq.Broker:
        """This worker's broker."""
        return self._broker

    async def start(self, receiver: ControlReceiver, *, worker_id: str, models: Sequence[str]) -> None:
        """Listen for control messages."""
        use_msgpack_envelopes()
        self._hub.declare_models(models)
        self._receiver, self._worker_id = receiver, worker_id
        self._hub.join_worker(worker_id, models, receiver)

    async def wait_ready(self) -> None:
        """Return: a started memory transport is ready."""

    def open_reply(
        self, reply_address: str, *, request_id: str, attempt: int, is_retained: bool = False
    ) -> ReplyWriter:
        """Open the way back for one attempt."""
        return self._outbox.open(reply_address, request_id=request_id, attempt=attempt, is_retained=is_retained)

    def redirect(self, request_id: str, reply_address: str) -> None:
        """Tell a retained generation to another address."""
        self._outbox.redirect(request_id, reply_address)

    async def wait_heard(self, request_id: str) -> None:
        """Return when nothing of a retained generation is held."""
        await self._outbox.wait_heard(request_id)

    def send(self, reply_address: str, statement: AttemptQuery | AttemptRunning) -> None:
        """Ask or tell the scheduler something."""
        self._outbox.send(reply_address, statement)

    def resend(self, request_id: str, attempt: int) -> None:
        """Tell an attempt from its start once more."""
        self._outbox.resend(request_id, attempt)

    def _publish(self, reply_address: str, body: bytes) -> None:
        if lost := self._hub.deliver_replies(reply_address, body):
            self._outbox.take_back(reply_address, lost)

    def _lose_readers(self, request_ids: Sequence[str]) -> None:
        if self._receiver is not None:
            self._receiver.lose_readers(request_ids)

    async def flush(self) -> None:
        """Return when everything written was delivered."""
        await self._outbox.wait_empty()

    async def wait_read(self) -> None:
        """The same: there is nothing between us and who reads."""
        await self._outbox.wait_empty()

    async def close(self) -> None:
        """Deliver what waits and stop listening."""
        await self.flush()
        await self._outbox.close()
        self._hub.leave_worker(self._worker_id)
        self._receiver = None
