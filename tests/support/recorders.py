"""Receivers that keep what they are given, and let a test wait for it."""

import asyncio
from collections.abc import Callable, Sequence

from headrace.schema.control import ControlMessage
from headrace.schema.events import AttemptQuery, Event, ReplyItem, StreamChunk

WAIT_SECONDS = 10


class Recorder:
    """Wakes whoever waits for a claim whenever something was recorded."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def changed(self) -> None:
        self._changed.set()

    async def until(self, claim: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while not claim():
                self._changed.clear()
                await self._changed.wait()


class ReplyRecorder(Recorder):
    """A `ReplyReceiver`."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[Sequence[ReplyItem]] = []
        self.rejected: list[str] = []
        self.lost_workers: list[str] = []
        self.restored = 0

    @property
    def chunks(self) -> list[StreamChunk]:
        return [item for batch in self.batches for item in batch if isinstance(item, StreamChunk)]

    @property
    def queries(self) -> list[AttemptQuery]:
        return [item for batch in self.batches for item in batch if isinstance(item, AttemptQuery)]

    def events_of(self, request_id: str) -> list[Event]:
        return [event for chunk in self.chunks if chunk.request_id == request_id for event in chunk.events]

    def receive_replies(self, items: Sequence[ReplyItem]) -> None:
        self.batches.append(items)
        self.changed()

    def reject_task(self, request_id: str, reason: str) -> None:
        assert reason
        self.rejected.append(request_id)
        self.changed()

    def lose_worker(self, worker_id: str) -> None:
        self.lost_workers.append(worker_id)
        self.changed()

    def restore_reply_path(self) -> None:
        self.restored += 1
        self.changed()


class ControlRecorder(Recorder):
    """A `ControlReceiver`."""

    def __init__(self) -> None:
        super().__init__()
        self.messages: list[ControlMessage] = []
        self.unread: list[str] = []

    def receive_control(self, message: ControlMessage) -> None:
        self.messages.append(message)
        self.changed()

    def lose_readers(self, request_ids: Sequence[str]) -> None:
        self.unread.extend(request_ids)
        self.changed()
