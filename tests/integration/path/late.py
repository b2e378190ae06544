"""A worker that lives and hears nothing for a while, as one whose host stands still."""

from collections.abc import Sequence
from typing import Any

from headrace.schema.control import ControlMessage
from headrace.transport.base import ControlReceiver, WorkerTransport


class LateTransport:
    """A `WorkerTransport` that keeps control messages back until it is let go."""

    def __init__(self, inner: WorkerTransport) -> None:
        self._inner = inner
        self._receiver: ControlReceiver | None = None
        self._held: list[ControlMessage] | None = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def start(self, receiver: ControlReceiver, *, worker_id: str, models: Sequence[str]) -> None:
        self._receiver = receiver
        await self._inner.start(self, worker_id=worker_id, models=models)

    def receive_control(self, message: ControlMessage) -> None:
        if self._held is not None:
            self._held.append(message)
        elif self._receiver is not None:
            self._receiver.receive_control(message)

    def lose_readers(self, request_ids: Sequence[str]) -> None:
        if self._receiver is not None:
            self._receiver.lose_readers(request_ids)

    def let_go(self) -> None:
        """Hear at once all that was said, and from now on what is."""
        held, self._held = self._held or [], None
        for message in held:
            self.receive_control(message)
