"""A scheduler's transport that keeps what it is told, for tests of the scheduler alone."""

import asyncio

from headrace.schema.control import ControlMessage
from headrace.schema.events import Event, StreamChunk
from headrace.schema.task import GenerationTask
from headrace.transport.base import ReplyReceiver, TransportUnavailableError
from tests.support.recorders import Recorder


class RecordingSchedulerTransport(Recorder):
    """A `SchedulerTransport` without a broker: the test plays the worker."""

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[GenerationTask] = []
        self.controls: list[tuple[ControlMessage, str, str | None]] = []
        self.receiver: ReplyReceiver | None = None
        self._address: str | None = "reply.1"
        self._ready = asyncio.Event()
        self._ready.set()

    @property
    def reply_address(self) -> str | None:
        return self._address

    def disconnect(self) -> None:
        lost, self._address = self._address, None
        self._ready.clear()
        assert self.receiver is not None
        assert lost is not None
        self.receiver.lose_reply_path(lost)

    def connect(self, address: str) -> None:
        self._address = address
        self._ready.set()

    async def start(self, receiver: ReplyReceiver) -> None:
        self.receiver = receiver

    async def wait_ready(self) -> None:
        await self._ready.wait()

    def publish_task(self, task: GenerationTask) -> None:
        if self._address is None:
            raise TransportUnavailableError("no connection")
        self.tasks.append(task)
        self.changed()

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        self.controls.append((message, model, worker_id))
        self.changed()

    async def check(self) -> None:
        if self._address is None:
            raise TransportUnavailableError("no connection")

    async def close(self) -> None:
        self._address = None

    def reply(self, request_id: str, offset: int, *events: Event, attempt: int = 1) -> None:
        """Deliver a chunk as a worker would."""
        assert self.receiver is not None
        self.receiver.receive_replies([StreamChunk(request_id, attempt, offset, events)])
