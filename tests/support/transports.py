"""A scheduler's transport that keeps what it is told, for tests of the scheduler alone."""

import asyncio

from headrace.schema.control import ControlMessage
from headrace.schema.events import Event, StreamChunk
from headrace.schema.names import Lane
from headrace.schema.task import GenerationTask
from headrace.transport.base import QueueDepth, ReplyReceiver, TransportUnavailableError
from tests.support.recorders import Recorder


class RecordingSchedulerTransport(Recorder):
    """A `SchedulerTransport` without a broker: the test plays the worker."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[GenerationTask] = []
        self.controls: list[tuple[ControlMessage, str, str | None]] = []
        self.receiver: ReplyReceiver | None = None
        self.unsent: list[GenerationTask] = []
        self.levels: list[int | None] = []
        self.depth: QueueDepth | None = None
        self.measured = 0
        self._ready = asyncio.Event()
        self._ready.set()

    @property
    def reply_address(self) -> str:
        return "replica"

    def disconnect(self) -> None:
        self._ready.clear()

    def connect(self) -> None:
        assert self.receiver is not None
        self._ready.set()
        self.tasks += self.unsent
        self.unsent.clear()
        self.receiver.restore_reply_path()

    async def start(self, receiver: ReplyReceiver) -> None:
        self.receiver = receiver

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def publish_task(self, task: GenerationTask, *, level: int | None = None) -> None:
        self.levels.append(level)
        (self.tasks if self._ready.is_set() else self.unsent).append(task)
        self.changed()

    def withdraw_task(self, request_id: str) -> bool:
        kept = [task for task in self.unsent if task.request_id != request_id]
        was_unsent = len(kept) < len(self.unsent)
        self.unsent = kept
        return was_unsent

    async def measure_queue(self, model: str, lane: Lane) -> QueueDepth | None:
        self.measured += 1
        return self.depth

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        self.controls.append((message, model, worker_id))
        self.changed()

    async def check(self) -> None:
        if not self._ready.is_set():
            raise TransportUnavailableError("no connection")

    async def close(self) -> None:
        self._ready.clear()

    def reply(self, request_id: str, offset: int, *events: Event, attempt: int = 1, retells: bool = False) -> None:
        """Deliver a chunk as a worker would."""
        assert self.receiver is not None
        self.receiver.receive_replies([StreamChunk(request_id, attempt, offset, events, retells)])
