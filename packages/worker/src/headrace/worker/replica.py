"""One worker replica from start to end: engines, transport, dramatiq worker, drain."""

import asyncio
from collections.abc import Sequence

import structlog

from headrace.transport.base import WorkerTransport
from headrace.transport.last_words import LastWords
from headrace.transport.objects import PayloadStore
from headrace.worker.actor import declare_generate_actor
from headrace.worker.engines.base import EngineDeadError
from headrace.worker.execution import Execution
from headrace.worker.last_words import LastWordWriter
from headrace.worker.loop_worker import LoopWorker
from headrace.worker.observer import WorkerObserver
from headrace.worker.station import Station

DEAD_ENGINE_SECONDS = 1.0

_log = structlog.get_logger("headrace.worker")


class Replica:
    """Runs the engines of its models until it is told to stop or one of them dies.

    Args:
        stations: one for each model, with its engine made and not started.
        transport: made, not started.
        worker_id: unique among the workers of a broker.
        drain_seconds: how long running generations may go on after the stop.
        observers: who gets the facts.
        payloads: where large requests lie; None where there is no object store.
        last_words: where it leaves what orphaned generations have used; None where there is no such place.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        transport: WorkerTransport,
        *,
        worker_id: str,
        drain_seconds: float,
        observers: Sequence[WorkerObserver] = (),
        payloads: PayloadStore | None = None,
        last_words: LastWords | None = None,
    ) -> None:
        self._stations = stations
        self._transport = transport
        self._worker_id = worker_id
        self._drain_seconds = drain_seconds
        self._payloads = payloads
        self._last_words = LastWordWriter(last_words)
        self._execution = Execution(
            stations,
            transport,
            worker_id=worker_id,
            observers=observers,
            payloads=payloads,
            last_words=self._last_words,
        )
        self._engine_died = asyncio.Event()
        self._dead_model = ""
        self.ready = asyncio.Event()
        self._ended = asyncio.Event()

    async def ready_or_ended(self) -> None:
        """Return when tasks are taken, or when `run` has ended without getting there."""
        await _wait_for_any(self.ready, self._ended)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then drain.

        Raises:
            EngineDeadError: the engine died; what it ran is back in the queue.
        """
        models = [station.model for station in self._stations]
        try:
            await self._start_engines()
            await self._transport.start(self._execution, worker_id=self._worker_id, models=models)
            queues = {name: prefetch for station in self._stations for name, prefetch in station.queues.items()}
            declare_generate_actor(self._transport.broker, self._execution, queue_names=list(queues))
            worker = LoopWorker(self._transport.broker, queues=queues, on_unsettled=self._engine_died.set)
            async with asyncio.TaskGroup() as group:
                watches = [group.create_task(self._announce(worker))]
                for station in self._stations:
                    watches.append(group.create_task(self._watch_engine(station)))
                    watches.append(group.create_task(self._watch_intake(station, worker)))
                await _wait_for_any(stop, self._engine_died)
                await self._drain(worker)
                for watch in watches:
                    watch.cancel()
        finally:
            self._ended.set()
            for station in self._stations:
                await station.engine.close()
            await self._transport.close()
            await self._last_words.close()
            if self._payloads is not None:
                await self._payloads.close()
        if self._engine_died.is_set():
            raise EngineDeadError(f"the engine of {self._dead_model or ', '.join(models)} died")

    async def _start_engines(self) -> None:
        for station in self._stations:
            await station.engine.start()

    async def _announce(self, worker: LoopWorker) -> None:
        # The way back must be open before the first task is taken.
        await self._transport.wait_ready()
        worker.start()
        await worker.wait_consuming()
        models = ", ".join(station.model for station in self._stations)
        _log.info("worker ready", worker_id=self._worker_id, model=models)
        self.ready.set()

    async def _watch_engine(self, station: Station) -> None:
        await station.engine.wait_dead()
        self._dead_model = station.model
        self._engine_died.set()

    async def _watch_intake(self, station: Station, worker: LoopWorker) -> None:
        await station.watch_intake(lambda queue_name, is_open: worker.set_intake(queue_name, is_open=is_open))

    async def _drain(self, worker: LoopWorker) -> None:
        # A dead engine fails its jobs by itself; what still runs a moment later never will end.
        seconds = DEAD_ENGINE_SECONDS if self._engine_died.is_set() else self._drain_seconds
        _log.info("worker draining", worker_id=self._worker_id, running=worker.running_count)
        worker.stop_intake()
        self._execution.begin_drain()
        await worker.drain(seconds=seconds, hand_back=self._hand_back)

    def _hand_back(self, request_ids: Sequence[str]) -> None:
        _log.warning("generations handed back", count=len(request_ids))
        self._execution.hand_back(request_ids)


async def _wait_for_any(*events: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        waits = [group.create_task(event.wait()) for event in events]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
