"""Running the requests of a job in the engine, and reading their outputs as they come."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

from headrace.worker.engines.vllm.fold import StepOutput
from headrace.worker.engines.vllm.library import OutputQueue, VllmLibrary
from headrace.worker.engines.vllm.life import EngineLife
from headrace.worker.engines.vllm.plan import EngineRequest


class SampleRun:
    """The requests of a job that samples.

    Args:
        library: the engine.
        life: of the engine.
        request_id: what the ids of its requests begin with.
        priority: vLLM's.
        model: the served name that was asked for.
    """

    def __init__(self, library: VllmLibrary, life: EngineLife, *, request_id: str, priority: int, model: str) -> None:
        self._library = library
        self._life = life
        self._request_id = request_id
        self._priority = priority
        self._model = model
        self._queues: list[OutputQueue] = []

    async def submit(self, requests: Sequence[EngineRequest]) -> None:
        """Hand every request to the engine.

        Raises:
            HeadraceError: vLLM refuses one; none of them runs then.
            EngineDeadError: the engine is dead.
        """
        try:
            for i, request in enumerate(requests):
                queue = await self._library.submit(
                    request.prompt,
                    request.arguments,
                    request_id=self._request_id if len(requests) == 1 else f"{self._request_id}-{i}",
                    priority=self._priority,
                    model=self._model,
                    thinks_first=request.thinks_first,
                )
                self._queues.append(queue)
                self._life.queues.add(queue)
        except BaseException:
            await self.abort()
            raise

    async def outputs(self) -> AsyncGenerator[tuple[int, StepOutput], None]:
        """Yield what each request gets, with its number, until all have ended."""
        if len(self._queues) == 1:
            (queue,) = self._queues
            finished = False
            while not finished:
                output = await self._life.read(queue)
                finished = output.finished
                yield 0, output
            return
        ready = asyncio.Event()
        ready.set()
        for queue in self._queues:
            queue.ready = ready
        open_queues = dict(enumerate(self._queues))
        while open_queues:
            await ready.wait()
            # All at once: taking clears the event, and what comes later must set it again.
            taken = [(number, self._life.take(queue)) for number, queue in open_queues.items()]
            ready.clear()
            for number, output in taken:
                if output is None:
                    continue
                if output.finished:
                    del open_queues[number]
                yield number, output

    async def abort(self) -> None:
        """Take what runs out of the engine. It is sent before the first await."""
        queues, self._queues = self._queues, []
        self._life.queues.difference_update(queues)
        if queues and not self._life.is_closed:
            await self._library.abort_all(queues)

    def end(self) -> None:
        """Forget the requests: all have ended by themselves."""
        self._life.queues.difference_update(self._queues)
        self._queues = []
