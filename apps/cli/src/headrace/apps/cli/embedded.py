"""Gateway, scheduler, worker and engines in one process tree: what `headrace serve` runs.

It is put together from the same parts as the production processes. Only the transport differs, and even that is a
setting: with an `amqp://` broker the same command serves over RabbitMQ.
"""

import asyncio
import socket
from collections.abc import Callable, Mapping

import structlog

from headrace.apps.gateway.accounts import Accounts
from headrace.apps.gateway.compose import Gateway, build_gateway
from headrace.apps.gateway.connections import connect_broker
from headrace.apps.gateway.reload import SettingsReloader
from headrace.apps.gateway.serving import serve_gateway
from headrace.apps.worker.compose import make_stations, make_worker_id, open_large_replies, open_last_words
from headrace.schema.errors import ErrorCode
from headrace.schema.settings import Settings
from headrace.transport.base import SchedulerTransport, WorkerTransport
from headrace.transport.memory import MemoryHub, MemorySchedulerTransport, MemoryWorkerTransport
from headrace.transport.objects import PayloadStore, open_payloads
from headrace.transport.rabbitmq import RabbitmqWorkerTransport
from headrace.transport.redis import RedisRelay
from headrace.worker.engines.base import Engine, EngineDeadError
from headrace.worker.metrics import WorkerMetrics
from headrace.worker.observer import LoggingObserver, WorkerObserver
from headrace.worker.replica import Replica

_log = structlog.get_logger("headrace.worker")


async def run_embedded(
    settings: Settings,
    *,
    engines: Mapping[str, Engine],
    listener: socket.socket,
    stop: asyncio.Event,
    on_ready: Callable[[], None],
    reloader: SettingsReloader | None = None,
    accounts: Accounts | None = None,
) -> None:
    """Serve until `stop` is set, then drain: first the gateway's streams, then the worker.

    Args:
        settings: of all parts.
        engines: by the model of each, made and not started.
        listener: the listening socket.
        stop: ends it.
        on_ready: called once, when the first request can be answered.
        reloader: changes the settings meanwhile.
        accounts: who may call; they are closed at the end.

    Raises:
        EngineDeadError: an engine died; every stream has been told.
    """
    payloads = open_payloads(settings.objects)
    scheduler_side, worker_side = _make_sides(settings, payloads)
    gateway = build_gateway(settings, scheduler_side, accounts)
    observers: list[WorkerObserver] = [LoggingObserver(_log), WorkerMetrics(gateway.registry)]
    replica = Replica(
        make_stations(settings, engines, observers),
        worker_side,
        worker_id=make_worker_id(),
        drain_seconds=settings.worker.drain_seconds,
        observers=observers,
        payloads=payloads,
        last_words=open_last_words(settings),
    )
    parts = _Parts(gateway, replica, stop, reloader)
    async with asyncio.TaskGroup() as group:
        group.create_task(parts.run_worker())
        await parts.wait_for_worker()
        group.create_task(parts.run_gateway(listener))
        if not parts.worker_ended and not stop.is_set():
            on_ready()
    if parts.engine_death is not None:
        raise parts.engine_death


def _make_sides(settings: Settings, payloads: PayloadStore | None) -> tuple[SchedulerTransport, WorkerTransport]:
    if settings.broker.url.startswith("memory:"):
        hub = MemoryHub()
        return MemorySchedulerTransport(hub, models=list(settings.models)), MemoryWorkerTransport(hub)
    worker_side = RabbitmqWorkerTransport(
        settings.broker,
        consumer_priority=settings.worker.consumer_priority,
        relay=RedisRelay(settings.redis) if settings.redis.url else None,
        large=open_large_replies(settings, payloads),
    )
    return connect_broker(settings), worker_side


class _Parts:
    """The two halves, and the order in which they end."""

    def __init__(
        self, gateway: Gateway, replica: Replica, stop: asyncio.Event, reloader: SettingsReloader | None
    ) -> None:
        self._gateway = gateway
        self._reloader = reloader
        self._replica = replica
        self._stop = stop
        self._stop_worker = asyncio.Event()
        self.worker_ended = False
        self.engine_death: EngineDeadError | None = None

    async def wait_for_worker(self) -> None:
        """Return when the worker takes tasks, or never will; a stop does not wait for a broker that is away."""
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(self._replica.ready_or_ended()), group.create_task(self._stop.wait())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def run_worker(self) -> None:
        try:
            await self._replica.run(self._stop_worker)
        except EngineDeadError as error:
            self.engine_death = error
            self._gateway.scheduler.end_all(ErrorCode.ENGINE_DEAD, "the engine died; send the request again")
        finally:
            self.worker_ended = True
            self._stop.set()

    async def run_gateway(self, listener: socket.socket) -> None:
        try:
            await serve_gateway(self._gateway, listener, self._stop, reloader=self._reloader)
        finally:
            self._stop_worker.set()
