"""Builds the parts of a gateway from the settings, and runs them from start to drain.

`headrace serve` runs the same gateway, over the memory transport.
"""

import asyncio
import secrets
import socket
from dataclasses import dataclass
from importlib.metadata import version

import structlog
from litestar import Litestar
from prometheus_client import CollectorRegistry

from headrace.apps.gateway.server import FLUSH_SECONDS, build_server, guard_hosts, stop_server
from headrace.gateway.app import GatewayParts, create_app
from headrace.gateway.draining import Draining
from headrace.gateway.journal import Journal
from headrace.gateway.metrics import GatewayMetrics
from headrace.gateway.retained.generations import RetainedGenerations
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.metrics import SchedulerMetrics
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.errors import ErrorCode
from headrace.schema.settings import Settings, SettingsError, served_names
from headrace.transport.base import SchedulerTransport
from headrace.transport.objects import open_payloads
from headrace.transport.rabbitmq import RabbitmqSchedulerTransport
from headrace.transport.redis import RedisProbe, RedisRelay, RedisRetentionStore
from headrace.transport.retention import MemoryRetention, MemoryRetentionStore, RetentionLimits, RetentionStore

_log = structlog.get_logger("headrace.gateway")


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """The parts of a gateway, built and not started."""

    settings: Settings
    scheduler: Scheduler
    app: Litestar
    draining: Draining
    registry: CollectorRegistry
    redis: RedisProbe | None
    retained: RetainedGenerations | None


def connect_broker(settings: Settings) -> SchedulerTransport:
    """Make the scheduler's transport of a gateway process.

    Raises:
        SettingsError: the broker's URL can't be used by a process of its own.
    """
    if not settings.broker.url.startswith(("amqp://", "amqps://")):
        raise SettingsError(
            [
                f"broker.url: a gateway process needs a broker that workers reach, not {settings.broker.url}: "
                "set it to amqp://…, or run everything in one process with `headrace serve`"
            ]
        )
    replica_id = f"{socket.gethostname().split('.')[0]}-{secrets.token_hex(4)}"
    try:
        relay = RedisRelay(settings.redis) if settings.redis.url else None
        return RabbitmqSchedulerTransport(
            settings.broker, replica_id=replica_id, models=list(settings.models), relay=relay
        )
    except ValueError as error:
        raise SettingsError([str(error)]) from None


def build_gateway(settings: Settings, transport: SchedulerTransport) -> Gateway:
    """Build a gateway over a transport.

    Raises:
        SettingsError: a setting can't be used.
    """
    registry = CollectorRegistry()
    scheduler = Scheduler(
        transport,
        models=served_names(settings.models),
        settings=settings.scheduler,
        observers=[SchedulerMetrics(registry)],
        large=_open_large(settings),
    )
    metrics = GatewayMetrics(registry)
    retained = _retain(settings, scheduler, metrics)
    draining = Draining()
    checks = {"broker": scheduler.check}
    redis = _connect_redis(settings)
    if redis is not None:
        checks["redis"] = redis.check
    parts = GatewayParts(
        source=scheduler,
        models=settings.models,
        settings=guard_hosts(settings.gateway),
        version=version("headrace-gateway"),
        checks=checks,
        max_timeout_seconds=settings.scheduler.max_request_timeout_seconds,
        metrics=metrics,
        draining=draining,
        retained=retained,
    )
    return Gateway(
        settings=settings,
        scheduler=scheduler,
        app=create_app(parts),
        draining=draining,
        registry=registry,
        redis=redis,
        retained=retained,
    )


def _retain(settings: Settings, scheduler: Scheduler, metrics: GatewayMetrics) -> RetainedGenerations | None:
    store = _open_retention(settings)
    if store is None:
        return None
    return RetainedGenerations(
        scheduler,
        store,
        settings=settings.retention,
        default_timeout_seconds=settings.scheduler.request_timeout_seconds,
        observers=(metrics, Journal()),
        let_go=scheduler.let_go,
    )


def _open_retention(settings: Settings) -> RetentionStore | None:
    """Return where generations are retained: what every gateway sees, or the memory of the only one."""
    kept = settings.retention
    limits = RetentionLimits(seconds=kept.seconds, max_count=kept.max_count, max_total_bytes=kept.max_total_bytes)
    if settings.broker.url.startswith("memory:"):
        return MemoryRetentionStore(MemoryRetention(limits))
    if not settings.redis.url:
        return None
    try:
        return RedisRetentionStore(settings.redis, limits, owner=f"gateway-{secrets.token_hex(8)}")
    except ValueError as error:
        raise SettingsError([str(error)]) from None


def _open_large(settings: Settings) -> LargeRequests | None:
    try:
        payloads = open_payloads(settings.objects)
    except ValueError as error:
        raise SettingsError([str(error)]) from None
    return None if payloads is None else LargeRequests(payloads, settings.objects)


def _connect_redis(settings: Settings) -> RedisProbe | None:
    if not settings.redis.url:
        return None
    try:
        return RedisProbe(settings.redis)
    except ValueError as error:
        raise SettingsError([str(error)]) from None


async def serve_gateway(
    gateway: Gateway, listener: socket.socket, stop: asyncio.Event, *, ready: asyncio.Event | None = None
) -> None:
    """Serve until `stop` is set, then drain: streams that run may finish, and those that can't are told so.

    Args:
        gateway: what to serve.
        listener: the listening socket.
        stop: ends it.
        ready: set once requests are answered.
    """
    server = build_server(gateway.app, gateway.settings.gateway)
    try:
        await gateway.scheduler.start()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[listener]))
            if ready is not None:
                ready.set()
            await stop.wait()
            gateway.draining.begin()
            _log.info("gateway draining", in_flight=gateway.scheduler.in_flight)
            if not await stop_server(server, serving, seconds=gateway.settings.gateway.drain_seconds):
                if gateway.retained is not None:
                    await gateway.retained.leave()
                gateway.scheduler.end_all(
                    ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again"
                )
                await stop_server(server, serving, seconds=FLUSH_SECONDS)
    finally:
        if gateway.retained is not None:
            await gateway.retained.close()
        await gateway.scheduler.close()
        if gateway.redis is not None:
            await gateway.redis.close()
