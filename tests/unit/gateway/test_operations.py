"""Probes, metrics, and the description of the API."""

import asyncio
from typing import Any, cast

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headrace.gateway.draining import Draining
from headrace.gateway.operations import Readiness, ReadinessCheck, check_readiness
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFailed
from headrace.schema.settings import GatewaySettings, Secret
from headrace.transport.base import TransportUnavailableError
from tests.unit.gateway.doubles import CHAT, HELLO, ScriptedSource, make_app, open_client


async def is_up() -> None:
    pass


async def is_down() -> None:
    raise HeadraceError(ErrorCode.BROKER_UNAVAILABLE, "the broker does not answer")


async def is_away() -> None:
    raise TransportUnavailableError("Redis does not answer")


async def is_broken() -> None:
    raise RuntimeError("amqp://user:secret@host")


async def hangs() -> None:
    await asyncio.Event().wait()


async def test_ready() -> None:
    async with open_client(make_app(ScriptedSource(), checks={"broker": is_up, "redis": is_up})) as client:
        answer = await client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {"broker": "ok", "redis": "ok"}})


async def test_not_ready_says_what_and_why() -> None:
    checks = {"broker": is_down, "redis": is_up, "other": is_broken, "slow": hangs}
    assert await check_readiness(checks, Draining(), timeout_seconds=0.01) == Readiness(
        status="unready",
        checks={
            "broker": "the broker does not answer",
            "redis": "ok",
            "other": "RuntimeError",
            "slow": "no answer within 0.01 s",
        },
    )
    async with open_client(make_app(ScriptedSource(), checks={"broker": is_down})) as client:
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize(("check", "status"), [(is_up, 200), (is_down, 503)])
async def test_health_is_readiness_under_the_name_that_vllm_has_for_it(check: ReadinessCheck, status: int) -> None:
    settings = GatewaySettings(api_key=Secret("k"))
    draining = Draining()
    async with open_client(
        make_app(ScriptedSource(), checks={"broker": check}, settings=settings, draining=draining)
    ) as client:
        health, readiness = await client.get("/health"), await client.get("/readyz")
        assert (health.status_code, health.json()) == (status, readiness.json())
        draining.begin()
        assert (await client.get("/health")).status_code == 503


async def test_what_requests_are_answered_without_is_only_mentioned() -> None:
    app = make_app(ScriptedSource(), checks={"broker": is_up}, optional_checks={"redis": is_away, "other": is_up})
    async with open_client(app) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "status": "ready",
        "checks": {"broker": "ok", "redis": "degraded: Redis does not answer", "other": "ok"},
    }


async def test_metrics_count_what_happens() -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        await client.post("/v1/chat/completions", json=CHAT)
        await client.post("/v1/chat/completions", json=CHAT | {"stream": True})
        await client.post("/v1/generations", json=CHAT | {"model": "unknown-to-us"})
        source.steps = ((GenerationFailed("from the future", "no", "queue", retryable=True),),)
        await client.post("/v1/generations", json=CHAT)
        answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert "unknown-to-us" not in answer.text
    assert "from the future" not in answer.text
    samples: dict[tuple[str, ...], float] = {
        (sample.name.removeprefix("headrace_gateway_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }
    expected: dict[tuple[str, ...], float] = {
        ("requests_total", "openai", "demo", "finished"): 2,
        ("requests_total", "native", "demo", "other"): 1,
        ("errors_total", "model_not_found", "native"): 1,
        ("errors_total", "other", "native"): 1,
        ("in_flight", "openai", "demo"): 0,
        ("in_flight", "native", "demo"): 0,
        ("input_tokens_total", "openai", "demo"): 10,
        ("output_tokens_total", "openai", "demo"): 14,
        ("first_event_seconds_count", "openai", "demo"): 2,
        ("first_token_seconds_count", "openai", "demo"): 2,
        ("duration_seconds_count", "openai", "demo"): 2,
        ("duration_seconds_count", "native", "demo"): 1,
    }
    assert {key: samples.get(key) for key in expected} == expected


def references_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        items = cast("dict[str, Any]", value)
        here: list[str] = [items["$ref"]] if "$ref" in items else []
        return here + [reference for item in items.values() for reference in references_in(item)]
    if isinstance(value, list):
        return [reference for item in cast("list[Any]", value) for reference in references_in(item)]
    return []


async def describe() -> dict[str, Any]:
    async with open_client(make_app(ScriptedSource())) as client:
        answer = await client.get("/schema/openapi.json")
        assert (await client.get("/schema")).json() == answer.json()
    return answer.json()


async def test_the_description_names_every_route() -> None:
    document = await describe()
    described = {(path, method.upper()) for path, item in document["paths"].items() for method in item}
    app = make_app(ScriptedSource())
    served = {(route.path_format, method) for route in app.routes for method in getattr(route, "methods", ())}
    assert described == {(path, method) for path, method in served if method != "OPTIONS"}
    assert document["info"] == {"title": "Headrace", "version": "1.2.3"}


async def test_the_description_holds_together() -> None:
    document = await describe()
    for reference in references_in(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference
    operations = [item for path in document["paths"].values() for item in path.values()]
    ids = [operation["operationId"] for operation in operations]
    assert len(ids) == len(set(ids))
    for path, item in document["paths"].items():
        for operation in item.values():
            assert operation["responses"]
            named = {parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "path"}
            assert named == {part[1:-1] for part in path.split("/") if part.startswith("{")}


@pytest.mark.parametrize(
    ("path", "required"), [("/v1/chat/completions", {"model", "messages"}), ("/v1/generations", {"model"})]
)
async def test_the_description_has_the_bodies_and_the_errors(path: str, required: set[str]) -> None:
    document = await describe()
    operation = document["paths"][path]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    assert set(document["components"]["schemas"][body]["required"]) == required
    assert set(operation["responses"]) >= {"200", "400", "401", "404", "413", "429", "500", "503", "504"}
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/event-stream"}
