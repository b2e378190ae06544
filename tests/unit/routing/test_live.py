"""Which changes need a restart, and that a reload is all or nothing."""

import asyncio
from pathlib import Path

import pytest
from msgspec import structs
from prometheus_client import CollectorRegistry, generate_latest
from structlog.testing import capture_logs

from headrace.apps.gateway.accounts import Accounts, open_accounts
from headrace.apps.gateway.compose import build_gateway
from headrace.apps.gateway.live import changed_for_good
from headrace.apps.gateway.reload import SettingsReloader
from headrace.gateway.headers import route_headers
from headrace.gateway.routing.breaker import BreakerState
from headrace.gateway.routing.facts import TargetTried, TargetTurned
from headrace.gateway.routing.journal import RoutingJournal
from headrace.gateway.routing.metrics import RoutingMetrics
from headrace.process.watch import WatchedFile
from headrace.scheduler.base import GenerationRecord
from headrace.schema.events import Usage
from headrace.schema.settings import (
    AccountsSettings,
    BrokerSettings,
    GatewaySettings,
    ModelSettings,
    PriceSettings,
    ProviderSettings,
    RouteSettings,
    Secret,
    Settings,
    SettingsError,
    StorageSettings,
)
from tests.support.transports import RecordingSchedulerTransport
from tests.unit.routing.doubles import make_settings, to

TRIED = TargetTried(
    request_id="1", route="chat", target="a/x", outcome="finished", was_told=True, first_token_seconds=0.3
)


def test_only_models_providers_and_routes_change_live() -> None:
    before = Settings()
    after = Settings(
        gateway=GatewaySettings(port=1, api_key=Secret("k")),
        broker=BrokerSettings(url="amqp://h"),
        models={"m": ModelSettings(weights="w")},
        providers={"p": ProviderSettings(kind="openai")},
        routes={"r": RouteSettings(targets=(to("m"),))},
    )
    assert list(changed_for_good(before, after)) == ["gateway.port", "gateway.api_key", "broker.url"]
    assert not list(changed_for_good(after, structs.replace(after, models={})))


def test_a_price_of_what_nobody_answers_as_is_refused() -> None:
    settings = make_settings({"r": RouteSettings(targets=(to("own"),))})
    for name in ("r", "own"):
        build_gateway(structs.replace(settings, prices={name: PriceSettings(input=1.0)}), RecordingSchedulerTransport())
    with pytest.raises(SettingsError, match=r"^prices\.ownn: .* did you mean own\?"):
        build_gateway(structs.replace(settings, prices={"ownn": PriceSettings()}), RecordingSchedulerTransport())


def test_a_secret_that_stays_is_no_change() -> None:
    one, other = Settings(gateway=GatewaySettings(api_key=Secret("k"))), GatewaySettings(api_key=Secret("k"))
    assert not list(changed_for_good(one, structs.replace(one, gateway=other)))


@pytest.fixture
def priced(tmp_path: Path) -> tuple[Settings, Accounts]:
    settings = structs.replace(
        make_settings({}),
        accounts=AccountsSettings(enabled=True),
        storage=StorageSettings(folder=str(tmp_path)),
        prices={"own": PriceSettings(input=1.0)},
    )
    accounts = open_accounts(settings)
    assert accounts is not None
    return settings, accounts


async def test_prices_change_too(priced: tuple[Settings, Accounts]) -> None:
    settings, accounts = priced
    gateway = build_gateway(settings, RecordingSchedulerTransport(), accounts)
    assert gateway.metering is not None
    costs = [gateway.metering.prices.cost("own", Usage(10, 0))]
    with capture_logs() as logs:
        await gateway.live.apply(structs.replace(settings, prices={"own": PriceSettings(input=3.0)}))
    costs.append(gateway.metering.prices.cost("own", Usage(10, 0)))
    assert costs == [10, 30]
    assert [line["event"] for line in logs] == ["settings reloaded"]
    await gateway.routed.close()
    await gateway.providers.close()
    await gateway.scheduler.close()
    await gateway.metering.close()
    await accounts.close()


async def test_a_reload_is_all_or_nothing(tmp_path: Path) -> None:
    gateway = build_gateway(make_settings({"r": RouteSettings(targets=(to("own"),))}), RecordingSchedulerTransport())
    found: list[Settings | Exception] = [
        SettingsError(["routes.r: wrong"]),
        RuntimeError("a bug"),
        make_settings({"s": RouteSettings(targets=(to("own"),))}),
    ]

    def read() -> Settings:
        settings = found.pop(0)
        if isinstance(settings, Exception):
            raise settings
        return settings

    reloader = SettingsReloader(read, watched=WatchedFile(tmp_path / "none"), seconds=0, asked=asyncio.Event())
    with capture_logs() as logs:
        assert [await reloader.reload(gateway.live) for _ in range(3)] == [False, False, True]
    assert [line["event"] for line in logs] == ["settings not reloaded", "settings not reloaded", "settings reloaded"]
    assert logs[0]["problems"] == ["routes.r: wrong"]
    await gateway.routed.close()
    await gateway.providers.close()
    await gateway.scheduler.close()


def test_facts_are_counted() -> None:
    registry = CollectorRegistry()
    metrics = RoutingMetrics(registry)
    metrics.target_tried(TRIED)
    metrics.target_turned(TargetTurned(target="a/x", state=BreakerState.OPEN, seconds=5))
    metrics.target_turned(TargetTurned(target="b/y", state=BreakerState.OPEN, seconds=5, cause="refusal"))
    text = generate_latest(registry).decode()
    assert 'headrace_routing_tries_total{outcome="finished",route="chat",target="a/x"} 1.0' in text
    assert 'headrace_routing_first_token_seconds_count{target="a/x"} 1.0' in text
    assert 'headrace_routing_breaker_state{target="a/x"} 2.0' in text
    assert 'headrace_routing_breaker_state{target="b/y"}' not in text
    assert 'headrace_routing_set_aside_total{cause="refusal",target="b/y"} 1.0' in text


def test_facts_are_logged() -> None:
    journal = RoutingJournal()
    with capture_logs() as logs:
        journal.target_tried(TRIED)
        journal.target_tried(structs.replace(TRIED, outcome="provider_error"))
        for state in (BreakerState.OPEN, BreakerState.HALF_OPEN, BreakerState.CLOSED):
            journal.target_turned(TargetTurned(target="a/x", state=state))
    assert [line["event"] for line in logs] == [
        "target failed",
        "target set aside",
        "target tried again",
        "target well again",
    ]


def test_the_name_of_a_route_fits_into_a_header() -> None:
    assert route_headers(GenerationRecord()) == {"Headrace-Route": "own"}
    assert route_headers(GenerationRecord(route="provider:größe\n")) == {
        "Headrace-Route": "provider:gr%C3%B6%C3%9Fe%0A"
    }
