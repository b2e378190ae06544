"""The scheduler's and the worker's side of the memory transport."""

import asyncio
from collections.abc import Sequence

import dramatiq

from headrace.schema.codec import encode_control, encode_replies
from headrace.schema.control import ControlMessage
from headrace.schema.events import AttemptQuery, ReplyItem
from headrace.schema.names import task_queue_name
from headrace.schema.task import GenerationTask
from headrace.transport.base import ControlReceiver, ReplyReceiver, ReplyWriter, TransportUnavailableError
from headrace.transport.envelope import build_envelope, use_msgpack_envelopes
from headrace.transport.memory.hub import MemoryHub
from headrace.transport.outbox import ReplyOutbox


class MemorySchedulerTransport:
    """`SchedulerTransport` in one process."""

    def __init__(self, hub: MemoryHub, *, models: Sequence[str]) -> None:
        self._hub = hub
        self._models = models
        self._receiver: ReplyReceiver | None = None
        self._address: str | None = None

    @property
    def reply_address(self) -> str | None:
        """The reply queue; it is there from `start` to `close`."""
        return self._address

    async def start(self, receiver: ReplyReceiver) -> None:
        """Open the reply queue and the task queues."""
        use_msgpack_envelopes()
        for model in self._models:
            self._hub.declare_queue(task_queue_name(model))
        self._receiver = receiver
        self._address = self._hub.open_reply_queue(receiver)

    async def wait_ready(self) -> None:
        """Return: a started memory transport is ready."""
        await self.check()

    def publish_task(self, task: GenerationTask) -> None:
        """Queue a task."""
        if self._receiver is None:
            raise TransportUnavailableError("the memory transport is closed")
        queue = self._hub.queues.get(task.queue)
        if queue is None:
            reject = self._receiver.reject_task
            asyncio.get_running_loop().call_soon(reject, task.request_id, "the model has no task queue")
            return
        queue.put(build_envelope(task), priority=task.priority)

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        """Deliver a control message at once."""
        self._hub.deliver_control(encode_control(message), model=model, worker_id=worker_id)

    async def check(self) -> None:
        """Raise unless it is started."""
        if self._receiver is None:
            raise TransportUnavailableError("the memory transport is closed")

    async def close(self) -> None:
        """Close the reply queue."""
        if self._address is not None:
            self._hub.close_reply_queue(self._address)
        self._receiver = self._address = None


class MemoryWorkerTransport:
    """`WorkerTransport` in one process."""

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self._broker = hub.open_broker()
        self._outbox = ReplyOutbox(self._publish, is_writable=lambda: True)
        self._receiver: ControlReceiver | None = None
        self._worker_id = ""

    @property
    def broker(self) -> dramatiq.Broker:
        """This worker's broker."""
        return self._broker

    async def start(self, receiver: ControlReceiver, *, worker_id: str, models: Sequence[str]) -> None:
        """Listen for control messages."""
        use_msgpack_envelopes()
        for model in models:
            self._hub.declare_queue(task_queue_name(model))
        self._receiver, self._worker_id = receiver, worker_id
        self._hub.join_worker(worker_id, models, receiver)

    async def wait_ready(self) -> None:
        """Return: a started memory transport is ready."""

    def open_reply(self, reply_address: str, *, request_id: str, attempt: int) -> ReplyWriter:
        """Open the way back for one attempt."""
        return self._outbox.open(reply_address, request_id=request_id, attempt=attempt)

    def send_query(self, reply_address: str, query: AttemptQuery) -> None:
        """Ask the scheduler about a redelivered task."""
        self._outbox.send_query(reply_address, query)

    def _publish(self, reply_address: str, items: Sequence[ReplyItem]) -> None:
        lost = self._hub.deliver_replies(reply_address, encode_replies(items))
        if lost and self._receiver is not None:
            self._receiver.lose_reply_address([item.request_id for item in lost])

    async def flush(self) -> None:
        """Return when everything written was delivered."""
        await self._outbox.wait_empty()

    async def close(self) -> None:
        """Deliver what waits and stop listening."""
        await self.flush()
        self._hub.leave_worker(self._worker_id)
        self._receiver = None
