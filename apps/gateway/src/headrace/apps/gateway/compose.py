"""Builds the parts of a gateway from the settings, and runs them from start to drain.

`headrace serve` runs the same gateway, over the memory transport.
"""

import asyncio
import random
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import structlog
from litestar import Litestar
from prometheus_client import CollectorRegistry

from headrace.apps.gateway.accounts import Accounts
from headrace.apps.gateway.live import LiveSettings
from headrace.apps.gateway.metering import Metering, build_metering
from headrace.apps.gateway.reload import SettingsReloader
from headrace.apps.gateway.server import FLUSH_SECONDS, GatewayServer, build_server, guard_hosts, stop_server
from headrace.gateway.app import GatewayAccounts, GatewayParts, create_app
from headrace.gateway.catalogue import Catalogue
from headrace.gateway.draining import Draining
from headrace.gateway.journal import Journal
from headrace.gateway.metrics import GatewayMetrics
from headrace.gateway.operations import ReadinessCheck
from headrace.gateway.retained.generations import RetainedGenerations
from headrace.gateway.routing.breaker import BreakerRules
from headrace.gateway.routing.facts import RoutingObserver
from headrace.gateway.routing.journal import RoutingJournal
from headrace.gateway.routing.leases import ProviderPool
from headrace.gateway.routing.metrics import RoutingMetrics
from headrace.gateway.routing.run import RunParts
from headrace.gateway.routing.source import RoutedSource, Routing
from headrace.gateway.routing.table import build_routes, check_prices, list_served
from headrace.providers.build import build_provider
from headrace.scheduler.base import GenerationSource
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.metrics import SchedulerMetrics
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.errors import ErrorCode
from headrace.schema.levels import levels_of
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
    routed: RoutedSource
    providers: ProviderPool
    live: LiveSettings
    app: Litestar
    draining: Draining
    registry: CollectorRegistry
    redis: RedisProbe | None
    accounts: Accounts | None
    metering: Metering | None
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


def build_gateway(settings: Settings, transport: SchedulerTransport, accounts: Accounts | None = None) -> Gateway:
    """Build a gateway over a transport.

    Args:
        settings: of the process.
        transport: to the workers.
        accounts: who may call; without them, whoever has the one key of the settings.

    Raises:
        SettingsError: a setting can't be used.
    """
    registry = CollectorRegistry()
    queue_metrics = SchedulerMetrics(registry)
    scheduler = Scheduler(
        transport,
        models=served_names(settings.models),
        settings=settings.scheduler,
        observers=[queue_metrics],
        queue_observers=[queue_metrics],
        large=_open_large(settings),
        levels=levels_of(settings.broker.queue_type),
    )
    observers: Sequence[RoutingObserver] = (RoutingMetrics(registry), RoutingJournal())
    providers = ProviderPool(build_provider, rules=BreakerRules.of(settings.routing), observers=observers)
    routed, catalogue = _build_routing(settings, scheduler, providers, observers)
    draining = Draining()
    redis = _connect_redis(settings)
    checks: dict[str, ReadinessCheck] = {"broker": scheduler.check}
    if accounts is not None:
        checks["accounts"] = accounts.directory.check
    metering = _build_metering(settings, routed, catalogue, accounts, registry)
    source = routed if metering is None else metering.source
    metrics = GatewayMetrics(registry)
    retained = _retain(settings, source, scheduler, metrics)
    parts = GatewayParts(
        source=source,
        models=settings.models,
        catalogue=catalogue,
        settings=guard_hosts(settings.gateway, has_accounts=accounts is not None),
        version=version("headrace-gateway"),
        checks=checks,
        # Streams need it only while the broker is away, and quotas fall back on the ledger.
        optional_checks={} if redis is None else {"redis": redis.check},
        default_priority=settings.scheduler.default_priority,
        accounts=_join(accounts, metering),
        max_timeout_seconds=settings.scheduler.max_request_timeout_seconds,
        metrics=metrics,
        draining=draining,
        retained=retained,
    )
    return Gateway(
        settings=settings,
        scheduler=scheduler,
        routed=routed,
        providers=providers,
        live=LiveSettings(
            settings,
            scheduler=scheduler,
            routed=routed,
            pool=providers,
            catalogue=catalogue,
            followers=() if metering is None else [metering.follow],
        ),
        app=create_app(parts),
        draining=draining,
        registry=registry,
        redis=redis,
        accounts=accounts,
        metering=metering,
        retained=retained,
    )


def _build_routing(
    settings: Settings, scheduler: Scheduler, providers: ProviderPool, observers: Sequence[RoutingObserver]
) -> tuple[RoutedSource, Catalogue]:
    leases = providers.prepare(settings.providers)
    providers.adopt(leases)
    routes = build_routes(settings)
    parts = RunParts(own=scheduler, random=random.random, observers=observers)
    routed = RoutedSource(parts, routing=Routing(routes=routes, providers=leases), settings=settings.scheduler)
    served = list_served(settings, routes)
    check_prices(settings, served)
    return routed, Catalogue(served)


def _build_metering(
    settings: Settings,
    source: GenerationSource,
    catalogue: Catalogue,
    accounts: Accounts | None,
    registry: CollectorRegistry,
) -> Metering | None:
    """Count what callers use; where there are no accounts there is nobody to count for."""
    if accounts is None:
        return None
    return build_metering(
        settings,
        source,
        database=accounts.database,
        limits=accounts.directory,
        registry=registry,
        context_of=catalogue.context_of,
        answered_by=catalogue.answered_by,
    )


def _join(accounts: Accounts | None, metering: Metering | None) -> GatewayAccounts | None:
    if accounts is None or metering is None:
        return None if accounts is None else accounts.parts
    return replace(accounts.parts, limits=metering.limits)


def _retain(
    settings: Settings, source: GenerationSource, scheduler: Scheduler, metrics: GatewayMetrics
) -> RetainedGenerations | None:
    store = _open_retention(settings)
    if store is None:
        return None
    return RetainedGenerations(
        source,
        store,
        settings=settings.retention,
        default_timeout_seconds=settings.scheduler.request_timeout_seconds,
        observers=(metrics, Journal()),
        let_go=scheduler.let_go,
        drop=scheduler.drop,
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
    gateway: Gateway,
    listener: socket.socket,
    stop: asyncio.Event,
    *,
    ready: asyncio.Event | None = None,
    reloader: SettingsReloader | None = None,
) -> None:
    """Serve until `stop` is set, then drain: streams that run may finish, and those that can't are told so.

    Args:
        gateway: what to serve.
        listener: the listening socket.
        stop: ends it.
        ready: set once requests are answered.
        reloader: changes the settings meanwhile.
    """
    server = build_server(gateway.app, gateway.settings.gateway)
    try:
        if gateway.accounts is not None:
            gateway.accounts.start()
        if gateway.metering is not None:
            await gateway.metering.start()
        await gateway.scheduler.start()
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(server.serve(sockets=[listener]))
            reloading = None if reloader is None else group.create_task(reloader.run(gateway.live))
            if ready is not None:
                ready.set()
            await stop.wait()
            if reloading is not None:
                reloading.cancel()
            await _drain(gateway, server, serving)
    finally:
        await _close(gateway)


async def _drain(gateway: Gateway, server: GatewayServer, serving: "asyncio.Task[None]") -> None:
    gateway.draining.begin()
    _log.info("gateway draining", in_flight=gateway.scheduler.in_flight + gateway.routed.in_flight)
    if await stop_server(server, serving, seconds=gateway.settings.gateway.drain_seconds):
        return
    if gateway.retained is not None:
        await gateway.retained.leave()
    for source in (gateway.routed, gateway.scheduler):
        source.end_all(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
    await stop_server(server, serving, seconds=FLUSH_SECONDS)


async def _close(gateway: Gateway) -> None:
    # First of all: what it leaves to other gateways must not be ended by those who run it.
    if gateway.retained is not None:
        await gateway.retained.close()
    await gateway.routed.close()
    await gateway.providers.close()
    await gateway.scheduler.close()
    if gateway.metering is not None:
        await gateway.metering.close()
    if gateway.redis is not None:
        await gateway.redis.close()
    if gateway.accounts is not None:
        await gateway.accounts.close()
