"""The retained generations that this process reads to their end, each in a task of its own."""

import asyncio
from collections.abc import Sequence

from headrace.gateway.retained.refusals import shutting_down
from headrace.gateway.retained.running import RunningGeneration
from headrace.scheduler.base import Generation
from headrace.transport.tasks import TaskOwner


class OwnedGenerations:
    """Owns the tasks."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[RunningGeneration, asyncio.Task[None]]] = {}
        self._tasks = TaskOwner()

    def run(self, running: RunningGeneration, generation: Generation) -> None:
        """Read a generation from now on."""
        request_id = generation.request_id
        task = self._tasks.start(running.run(generation), name=f"retained {request_id}")
        self._running[request_id] = (running, task)
        task.add_done_callback(lambda _: self._running.pop(request_id, None))

    def __contains__(self, request_id: object) -> bool:
        return request_id in self._running

    @property
    def ids(self) -> Sequence[str]:
        """What is read now."""
        return tuple(self._running)

    def find(self, request_id: str) -> Generation | None:
        """Return a generation that is read here."""
        found = self._running.get(request_id)
        return None if found is None else found[0].generation

    def say(self) -> None:
        """Keep of each what another process must know to go on, also while nothing is told."""
        for running, _ in self._running.values():
            running.say()

    def leave(self) -> None:
        """Read no more; readers here are told to ask elsewhere."""
        for running, task in list(self._running.values()):
            running.leave(shutting_down())
            task.cancel()

    async def join(self) -> None:
        """Wait until all have ended, or were left."""
        await self._tasks.join()

    async def close(self) -> None:
        """Cancel what is still read."""
        await self._tasks.close()
