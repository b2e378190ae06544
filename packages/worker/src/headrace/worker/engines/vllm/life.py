"""Whether an engine's process still runs, and who waits for something of it."""

import asyncio

import structlog

from headrace.worker.engines.base import EngineDeadError
from headrace.worker.engines.suspension import Suspension
from headrace.worker.engines.vllm.fold import StepOutput
from headrace.worker.engines.vllm.library import OutputQueue

_log = structlog.get_logger("headrace.engine")


class EngineLife:
    """The life of one engine.

    Args:
        name: the served name of its model, for the log.
        kind: of the engine, for the log.

    Attributes:
        is_closed: it was closed on purpose.
        queues: where the outputs of running requests come.
    """

    def __init__(self, name: str, kind: str) -> None:
        self._name = name
        self._kind = kind
        self._dead = asyncio.Event()
        self.is_closed = False
        self.queues: set[OutputQueue] = set()
        self._resting: set[asyncio.Event] = set()

    def check(self) -> None:
        """Raise `EngineDeadError` where nothing can be asked of the engine any more."""
        if self.is_closed:
            raise EngineDeadError("the engine was closed")
        if self._dead.is_set():
            raise EngineDeadError("the engine has died")

    async def read(self, queue: OutputQueue) -> StepOutput:
        """Return the next output of a queue.

        Raises:
            EngineDeadError: the engine died or was closed.
        """
        try:
            return queue.get_nowait() or await queue.get()
        except Exception as error:
            raise self._explain() from error

    async def rest(self, suspension: Suspension) -> None:
        """Return when a job is not held, or not any more.

        Raises:
            EngineDeadError: the engine died or was closed.
        """
        while suspension.is_on:
            self.check()
            changed = asyncio.Event()
            suspension.follow(changed.set)
            self._resting.add(changed)
            try:
                await changed.wait()
            finally:
                self._resting.discard(changed)

    def take(self, queue: OutputQueue) -> StepOutput | None:
        """Return what is in a queue now; see `read`."""
        try:
            return queue.get_nowait()
        except Exception as error:
            raise self._explain() from error

    def _explain(self) -> EngineDeadError:
        # What a queue raises is told to all requests at once: after that vLLM answers nobody any more.
        return EngineDeadError("the engine was closed" if self.is_closed else "the engine has died")

    def note_death(self) -> None:
        """Take notice that the process has ended."""
        if not self.is_closed:
            _log.error("engine died", model=self._name, kind=self._kind)
            self._dead.set()
            self._rouse()

    async def wait_dead(self) -> None:
        """Return when the process has died by itself."""
        await self._dead.wait()

    def end(self) -> None:
        """End every wait: the engine is about to be closed."""
        self.is_closed = True
        for queue in self.queues:
            queue.put(EngineDeadError("the engine was closed"))
        self._rouse()

    def _rouse(self) -> None:
        for changed in self._resting:
            changed.set()
