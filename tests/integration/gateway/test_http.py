"""What only a real server shows: limits on bodies, waits, connections."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from headrace.gateway.draining import Draining
from headrace.schema.events import (
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
)
from headrace.schema.settings import GatewaySettings
from tests.integration.gateway.conftest import Serve
from tests.unit.gateway.doubles import CHAT, HELLO, USAGE, ScriptedSource, make_app

LIMIT_BYTES = 2048
PATHS = ["/v1/chat/completions", "/v1/generations"]


async def pieces(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 1024


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_is_too_large_is_refused(serve: Serve, path: str) -> None:
    app = make_app(ScriptedSource(), settings=GatewaySettings(body_limit_bytes=LIMIT_BYTES))
    async with serve(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        announced = await client.post(path, content=b" " * (LIMIT_BYTES + 1))
        chunked = await client.post(path, content=pieces(LIMIT_BYTES // 1024 + 1))
        endless = await client.post(path, content=pieces(4096))
        fits = await client.post(path, content=pieces(LIMIT_BYTES // 1024))
    assert [answer.status_code for answer in (announced, chunked, endless, fits)] == [413, 413, 413, 400]
    assert "error" in chunked.json()


async def test_a_waiting_stream_gets_its_headers_and_comments(serve: Serve) -> None:
    gate = asyncio.Event()
    source = ScriptedSource(gate, *HELLO)
    settings = GatewaySettings(header_wait_seconds=0.05, keepalive_seconds=0.05)
    async with serve(make_app(source, settings=settings)) as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/v1/generations"
        async with client.stream("POST", url, json=CHAT | {"stream": True}) as answer:
            assert answer.status_code == 200
            assert answer.headers["headrace-request-id"] == source.submissions[0].request_id
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert answer.headers["cache-control"] == "no-cache, no-transform"
            lines = answer.aiter_lines()
            comments = 0
            while comments < 3:
                comments += await anext(lines) == ": keepalive"
            gate.set()
            rest = [line async for line in lines]
    assert rest[-2].endswith('{"type":"generation_finished"}]}')


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/generations"])
async def test_a_stream_that_waits_for_a_worker_says_so_in_its_comments(serve: Serve, path: str) -> None:
    gate = asyncio.Event()
    source = ScriptedSource(gate, *HELLO)
    source.queued = GenerationQueued(3)
    settings = GatewaySettings(header_wait_seconds=0.05, keepalive_seconds=0.05)
    async with serve(make_app(source, settings=settings)) as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}{path}"
        async with client.stream("POST", url, json=CHAT | {"stream": True}) as answer:
            lines = answer.aiter_lines()
            assert await anext(lines) == ": queued position=3"
            source.queued = GenerationQueued(1, 11.2)
            while await anext(lines) != ": queued position=1 eta_seconds=12":
                pass
            source.queued = None
            while await anext(lines) != ": keepalive":
                pass
            gate.set()
            rest = [line async for line in lines]
    assert any("world" in line for line in rest)


async def test_one_that_asks_is_told_in_comments_where_its_dialect_has_no_word_for_it(serve: Serve) -> None:
    gate, told = asyncio.Event(), asyncio.Event()
    source = ScriptedSource((GenerationQueued(9),), told, (GenerationQueued(4, 2.0),), gate, *HELLO)
    settings = GatewaySettings(header_wait_seconds=0.05)
    async with serve(make_app(source, settings=settings)) as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        # The headers do not go for it, so that an early failure still has its own status.
        async with client.stream("POST", url, json=CHAT | {"stream": True}) as answer:
            told.set()
            lines = answer.aiter_lines()
            assert await anext(lines) == ": queued position=4 eta_seconds=2"
            gate.set()
            assert [line async for line in lines][-2] == "data: [DONE]"


async def test_a_failure_after_the_headers_is_an_event(serve: Serve) -> None:
    gate = asyncio.Event()
    source = ScriptedSource(gate, (GenerationFailed("engine_dead", "dead", "queue", retryable=True),))
    settings = GatewaySettings(header_wait_seconds=0.05)
    async with serve(make_app(source, settings=settings)) as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with client.stream("POST", url, json=CHAT | {"stream": True}) as answer:
            assert answer.status_code == 200
            gate.set()
            text = (await answer.aread()).decode()
    assert text == 'data: {"error":{"message":"dead","type":"server_error","param":null,"code":"engine_dead"}}\n\n'


async def test_a_generation_that_ends_without_a_terminal_event_is_a_failure(serve: Serve) -> None:
    source = ScriptedSource((GenerationStarted("w"), SequenceDelta(0, "Hel")))
    async with serve(make_app(source)) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        stream = await client.post("/v1/chat/completions", json=CHAT | {"stream": True})
        whole = await client.post("/v1/chat/completions", json=CHAT)
    assert stream.text.endswith('"code":"stream_broken"}}\n\n')
    assert whole.status_code == 502
    assert [generation.closed for generation in source.generations] == [1, 1]


async def test_a_source_that_raises_is_a_failure(serve: Serve) -> None:
    source = ScriptedSource((SequenceDelta(0, "Hel"),), RuntimeError("a secret prompt"))
    async with serve(make_app(source)) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        stream = await client.post("/v1/generations", json=CHAT | {"stream": True})
        whole = await client.post("/v1/generations", json=CHAT)
    assert '"code":"internal_error"' in stream.text
    assert "secret" not in stream.text + whole.text
    assert whole.status_code == 500


async def test_a_draining_gateway_refuses_and_lets_go(serve: Serve) -> None:
    gate, draining = asyncio.Event(), Draining()
    source = ScriptedSource((SequenceDelta(0, "Hel"),), gate, (GenerationFinished(USAGE),))
    app = make_app(source, draining=draining)
    async with (
        serve(app) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
        client.stream("POST", "/v1/generations", json=CHAT | {"stream": True}) as running,
    ):
        draining.begin()
        refused = await client.post("/v1/chat/completions", json=CHAT)
        ready = await client.get("/readyz")
        alive = await client.get("/livez")
        gate.set()
        rest = await running.aread()
    assert refused.status_code == 503
    assert refused.json()["error"]["code"] == "shutting_down"
    assert refused.headers["connection"] == "close"
    assert refused.headers["retry-after"] == "1"
    assert (ready.status_code, ready.json()) == (503, {"status": "draining", "checks": {}})
    assert alive.status_code == 200
    assert b"generation_finished" in rest


async def test_one_connection_serves_call_after_call(serve: Serve) -> None:
    source = ScriptedSource(*HELLO)
    limits = httpx.Limits(max_connections=1)
    async with (
        serve(make_app(source)) as port,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", limits=limits) as client,
    ):
        for stream in (True, False, True, False):
            answer = await client.post("/v1/generations", json=CHAT | {"stream": stream})
            assert answer.status_code == 200
        assert (await client.post("/v1/generations", content=b"{")).status_code == 400
        assert (await client.put("/v1/generations/x")).status_code == 405
    assert [generation.closed for generation in source.generations] == [1, 1, 1, 1]
