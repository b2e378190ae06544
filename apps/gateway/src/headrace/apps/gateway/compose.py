"""Builds the parts of a gateway from the settings.

`headrace serve` runs the same gateway, over the memory transport.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

from litestar import Litestar
from prometheus_client import CollectorRegistry

from headrace.apps.gateway.accounts import Accounts
from headrace.apps.gateway.connections import connect_redis, open_large, open_records, open_retention
from headrace.apps.gateway.live import LiveSettings
from headrace.apps.gateway.metering import Metering, build_metering
from headrace.apps.gateway.server import guard_hosts
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
from headrace.scheduler.metrics import SchedulerMetrics
from headrace.scheduler.scheduler import Scheduler
from headrace.schema.levels import levels_of
from headrace.schema.settings import Settings, served_names
from headrace.transport.base import SchedulerTransport
from headrace.transport.redis import RedisProbe, RedisRecords


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
    records: RedisRecords | None


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
        large=open_large(settings),
        levels=levels_of(settings.broker.queue_type),
    )
    observers: Sequence[RoutingObserver] = (RoutingMetrics(registry), RoutingJournal())
    providers = ProviderPool(build_provider, rules=BreakerRules.of(settings.routing), observers=observers)
    routed, catalogue = _build_routing(settings, scheduler, providers, observers)
    draining = Draining()
    redis = connect_redis(settings)
    checks: dict[str, ReadinessCheck] = {"broker": scheduler.check}
    if accounts is not None:
        checks["accounts"] = accounts.directory.check
    metering = _build_metering(settings, routed, catalogue, accounts, registry)
    source = routed if metering is None else metering.source
    metrics = GatewayMetrics(registry)
    retained = _retain(settings, source, scheduler, routed, metrics)
    records = open_records(settings)
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
        records=records,
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
        records=records,
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
    settings: Settings, source: GenerationSource, scheduler: Scheduler, routed: RoutedSource, metrics: GatewayMetrics
) -> RetainedGenerations | None:
    store = open_retention(settings)
    if store is None:
        return None
    return RetainedGenerations(
        source,
        store,
        settings=settings.retention,
        default_timeout_seconds=settings.scheduler.request_timeout_seconds,
        observers=(metrics, Journal()),
        let_go=lambda request_ids: scheduler.let_go([routed.task_id_of(name) for name in request_ids]),
        drop=scheduler.drop,
    )
