"""Generations that go on without the HTTP call that began them.

Each is read to its end by a task of its own, so it ends like any other: by itself, at its deadline, when it is
cancelled, or when the scheduler ends all because the process does. The process waits for them as it waits for
connections.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from headrace.gateway.call import Call, Submits
from headrace.gateway.reading import next_batch
from headrace.gateway.response import submit
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Generation, GenerationSource
from headrace.schema.caller import Caller
from headrace.schema.events import Event, is_terminal
from headrace.transport.tasks import TaskOwner


class DetachedReader(Protocol):
    """Takes the events of a generation that nobody waits for."""

    def receive(self, events: Sequence[Event]) -> None:
        """Take the next events; those of the last call end with a terminal one."""
        ...

    async def close(self) -> None:
        """Nothing more comes, whether or not there was a terminal event."""
        ...


class DetachedGenerations:
    """Owns them.

    Args:
        source: runs them.
        cancel_elsewhere: cancels for a caller what another process runs, and tells whether it did; None where there
            can be none.
    """

    def __init__(
        self, source: GenerationSource, *, cancel_elsewhere: Callable[[str, Caller], Awaitable[bool]] | None = None
    ) -> None:
        self._source = source
        self._cancel_elsewhere = cancel_elsewhere
        self._tasks = TaskOwner()
        self._running: dict[str, tuple[asyncio.Task[None], Caller]] = {}

    async def start(self, call: Call, reader: DetachedReader, source: Submits) -> None:
        """Submit a call, and read its generation from now on.

        Raises:
            CallFailedError: it is not accepted.
        """
        call.open()
        try:
            generation = await submit(call, source)
        except BaseException:
            call.close()
            raise
        request_id = call.order.submission.request_id
        task = self._tasks.start(self._run(call, generation, reader), name=f"detached {request_id}")
        self._running[request_id] = (task, call.order.submission.caller)
        task.add_done_callback(lambda _: self._running.pop(request_id, None))

    async def cancel(self, request_id: str) -> None:
        """Cancel a generation, and wait until its reader is closed.

        Raises:
            HeadraceError: another process runs it, and can't be told now.
        """
        if (running := self._running.get(request_id)) is None:
            return
        task, caller = running
        if not self._source.cancel(request_id) and self._cancel_elsewhere is not None:
            await self._cancel_elsewhere(request_id, caller)
        await asyncio.wait({task})

    async def join(self) -> None:
        """Wait until all have ended."""
        await self._tasks.join()

    async def _run(self, call: Call, generation: Generation, reader: DetachedReader) -> None:
        try:
            await _read(call, generation, reader)
        except Exception as error:  # noqa: BLE001 - an edge: nobody waits for this task
            call.fail(report_unexpected(error, request_id=generation.request_id))
        finally:
            await asyncio.shield(generation.aclose())
            call.record = generation.record
            await reader.close()
            call.close()


async def _read(call: Call, generation: Generation, reader: DetachedReader) -> None:
    ended = False
    while not ended:
        batch = await next_batch(generation)
        ended = is_terminal(batch[-1])
        call.note(batch)
        reader.receive(batch)
