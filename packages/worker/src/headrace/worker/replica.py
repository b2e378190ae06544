"""One worker replica from start to end: engine, transport, dramatiq worker, drain."""

import asyncio
from collections.abc import Sequence

import structlog
from msgspec import Struct

from headrace.schema.names import task_queue_name
from headrace.transport.base import WorkerTransport
from headrace.transport.objects import PayloadStore
from headrace.worker.actor import declare_generate_actor
from headrace.worker.engines.base import Engine, EngineDeadError
from headrace.worker.execution import Execution
from headrace.worker.loop_worker import LoopWorker
from headrace.worker.observer import WorkerObserver

DEAD_ENGINE_SECONDS = 1.0

_log = structlog.get_logger("headrace.worker")


class ReplicaIdentity(Struct, frozen=True, kw_only=True):
    """Who a replica is.

    Attributes:
        worker_id: unique among the workers of a broker.
        model: the served name that it runs.
    """

    worker_id: str
    model: str


class Replica:
    """Runs one engine for one model until it is told to stop or the engine dies.

    Args:
        engine: made, not started.
        transport: made, not started.
        identity: who we are.
        drain_seconds: how long running generations may go on after the stop.
        observers: who gets the facts.
        payloads: where large requests lie; None where there is no object store.
    """

    def __init__(
        self,
        engine: Engine,
        transport: WorkerTransport,
        *,
        identity: ReplicaIdentity,
        drain_seconds: float,
        observers: Sequence[WorkerObserver] = (),
        payloads: PayloadStore | None = None,
    ) -> None:
        self._engine = engine
        self._transport = transport
        self._identity = identity
        self._drain_seconds = drain_seconds
        self._payloads = payloads
        self._execution = Execution(
            engine, transport, worker_id=identity.worker_id, observers=observers, payloads=payloads
        )
        self._engine_died = asyncio.Event()
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
        model, worker_id = self._identity.model, self._identity.worker_id
        try:
            await self._engine.start()
            await self._transport.start(self._execution, worker_id=worker_id, models=[model])
            queue_name = task_queue_name(model)
            declare_generate_actor(self._transport.broker, self._execution, queue_name=queue_name)
            worker = LoopWorker(
                self._transport.broker,
                queues={queue_name: self._engine.slots},
                on_unsettled=self._engine_died.set,
            )
            async with asyncio.TaskGroup() as group:
                watches = [
                    group.create_task(self._watch_engine()),
                    group.create_task(self._announce(worker)),
                ]
                await _wait_for_any(stop, self._engine_died)
                await self._drain(worker)
                for watch in watches:
                    watch.cancel()
        finally:
            self._ended.set()
            await self._engine.close()
            await self._transport.close()
            if self._payloads is not None:
                await self._payloads.close()
        if self._engine_died.is_set():
            raise EngineDeadError(f"the engine of {model} died")

    async def _announce(self, worker: LoopWorker) -> None:
        # The way back must be open before the first task is taken.
        await self._transport.wait_ready()
        worker.start()
        await worker.wait_consuming()
        _log.info("worker ready", worker_id=self._identity.worker_id, model=self._identity.model)
        self.ready.set()

    async def _watch_engine(self) -> None:
        await self._engine.wait_dead()
        self._engine_died.set()

    async def _drain(self, worker: LoopWorker) -> None:
        # A dead engine fails its jobs by itself; what still runs a moment later never will end.
        seconds = DEAD_ENGINE_SECONDS if self._engine_died.is_set() else self._drain_seconds
        _log.info("worker draining", worker_id=self._identity.worker_id, running=worker.running_count)
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
