"""The events of one retained generation in this process: one writer, and any number of readers at places of their own.

A place is a number of events, counted from the start; it means the same in every process. Readers see only what is
safe in the store, so that what a client was told is never told differently by the process that goes on.
"""

import asyncio
from collections.abc import Sequence

from headrace.schema.events import Event, GenerationFailed, is_terminal


class EventLog:
    """Bounded by the length of the answer, which its writer bounds.

    Attributes:
        request_id: the generation.
        events: all that are known, from the start.
        size_bytes: of the events, encoded.
        readers: how many read it.
    """

    def __init__(self, request_id: str) -> None:
        self.request_id = request_id
        self.events: list[Event] = []
        self.size_bytes = 0
        self.readers = 0
        self._shown = 0
        self._break: GenerationFailed | None = None
        self._waiters: set[asyncio.Future[None]] = set()

    @property
    def shown(self) -> int:
        """How many events readers may see."""
        return self._shown

    @property
    def has_ended(self) -> bool:
        """Whether the terminal event is known."""
        return bool(self.events) and is_terminal(self.events[-1])

    @property
    def is_over(self) -> bool:
        """Whether readers get no more than what they may see now."""
        return self._break is not None or (self._shown == len(self.events) and self.has_ended)

    def add(self, events: Sequence[Event], *, size_bytes: int = 0) -> None:
        """Append events, which are not shown yet."""
        self.events.extend(events)
        self.size_bytes += size_bytes

    def show(self, count: int) -> None:
        """Let readers see the first `count` events."""
        if count > self._shown:
            self._shown = min(count, len(self.events))
            self._wake()

    def break_off(self, failure: GenerationFailed) -> None:
        """End every reader here with a failure, which is no part of the log: the generation may go on elsewhere."""
        if not self.is_over:
            self._break = failure
            self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def read(self, after: int) -> Sequence[Event]:
        """Return the events after a place, waiting for some; nothing at the end."""
        while self._shown <= after:
            if self._break is not None:
                return () if after > self._shown else (self._break,)
            if self.is_over:
                return ()
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.add(waiter)
            try:
                await waiter
            finally:
                self._waiters.discard(waiter)
        return self.events[after : self._shown]
