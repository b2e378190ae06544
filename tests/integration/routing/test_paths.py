"""Where requests go when our own workers are full, and what of them reaches a vendor."""

import base64
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.integration.routing.rig import WAIT_SECONDS, Stage, open_stage, running
from tests.support.upstream import stream_of, whole_of
from tests.support.vendor_streams import STREAMS, TEXT

OPENAI = next(stream for stream in STREAMS if stream.kind == "openai" and stream.name == "text")
BUSY = """
step_seconds = 0.0

[[rules]]
when = "hold"
fault = "hang"
"""
FALLS_BACK = '[routes.chat]\ntargets = [{ model = "own" }]\nfallbacks = [{ model = "openai/big" }]\n'


def _chat(model: str, text: str = "Hi") -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def _client(stage: Stage) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=stage.url, timeout=WAIT_SECONDS)


@asynccontextmanager
async def _held(client: httpx.AsyncClient) -> AsyncGenerator[None]:
    """Have the only slot of our worker taken."""
    body = _chat("own", "hold") | {"stream": True, "output": {"usage": True}}
    async with client.stream("POST", "/v1/generations", json=body) as answer:
        # Kept, since the connection closes with it.
        lines = answer.aiter_lines()
        await anext(lines)
        yield


async def test_who_waits_too_long_for_a_worker_goes_to_a_provider(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("openai") + FALLS_BACK + "on_long_wait_seconds = 0.1\n")
        stage.upstreams["openai"].play(stream_of(*OPENAI.events))
        async with running(stage, script=BUSY, slots=1), _client(stage) as client, _held(client):
            answer = await client.post("/v1/generations", json=_chat("chat"))
            assert answer.headers["headrace-route"] == "provider:openai"
            assert answer.json()["sequences"][0]["text"] == TEXT
            private = {"Headrace-Privacy": "local_only", "Headrace-Timeout-Seconds": "0.5"}
            kept = await client.post("/v1/generations", json=_chat("chat"), headers=private)
            assert kept.json()["error"]["code"] == "deadline_exceeded"
        assert len(stage.upstreams["openai"].asked) == 1


async def test_who_is_refused_by_a_full_gateway_goes_to_a_provider(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("openai") + FALLS_BACK + "[scheduler]\nmax_in_flight = 1\n")
        stage.upstreams["openai"].play(stream_of(*OPENAI.events))
        async with running(stage, script=BUSY, slots=1), _client(stage) as client, _held(client):
            answer = await client.post("/v1/generations", json=_chat("chat"))
            assert answer.headers["headrace-route"] == "provider:openai"
            assert (await client.post("/v1/generations", json=_chat("own"))).status_code == 429


async def test_a_client_that_leaves_hangs_up_at_the_vendor(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("openai"))
        upstream = stage.upstreams["openai"]
        upstream.play(stream_of(*OPENAI.events[:3], end="hang"))
        async with running(stage), _client(stage) as client:
            body = _chat("openai/big") | {"stream": True}
            async with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                await anext(answer.aiter_lines())
            await upstream.wait_left()


async def test_a_generation_at_a_vendor_is_cancelled_by_its_id(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("openai"))
        upstream = stage.upstreams["openai"]
        upstream.play(stream_of(*OPENAI.events[:3], end="hang"))
        async with running(stage), _client(stage) as client:
            body = _chat("openai/big") | {"stream": True}
            async with client.stream("POST", "/v1/generations", json=body) as answer:
                lines = answer.aiter_lines()
                await anext(lines)
                request_id = answer.headers["headrace-request-id"]
                assert (await client.delete(f"/v1/generations/{request_id}")).status_code == 200
                rest = "".join([line async for line in lines])
            assert '"code":"cancelled"' in rest
            await upstream.wait_left()


async def test_a_drain_ends_streams_of_vendors_too(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("openai"))
        text = stage.path.read_text().replace("[gateway]", "[gateway]\ndrain_seconds = 0.1")
        stage.path.write_text(text)
        stage.upstreams["openai"].play(stream_of(*OPENAI.events[:3], end="hang"))
        async with _client(stage) as client:
            async with running(stage):
                request = client.build_request(
                    "POST", f"{stage.url}/v1/generations", json=_chat("openai/big") | {"stream": True}
                )
                answer = await client.send(request, stream=True)
                lines = answer.aiter_lines()
                await anext(lines)
            rest = "".join([line async for line in lines])
            await answer.aclose()
            assert '"code":"shutting_down"' in rest
            await stage.upstreams["openai"].wait_left()


async def test_embeddings_and_counts_go_to_those_who_can(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write(
            stage.providers("openai", "anthropic")
            + '[routes.vectors]\ntargets = [{ model = "own" }, { model = "anthropic/big" }]\n'
            + 'fallbacks = [{ provider = "openai", model = "embed-x" }]\n'
            + '[routes.counts]\ntargets = [{ model = "openai/big" }]\nfallbacks = [{ model = "anthropic/big" }]\n'
        )
        vector = base64.b64encode(struct.pack("<2f", 0.5, -1.0)).decode()
        stage.upstreams["openai"].play(
            whole_of(
                {
                    "object": "list",
                    "model": "embed-x",
                    "data": [{"object": "embedding", "index": 0, "embedding": vector}],
                    "usage": {"prompt_tokens": 3, "total_tokens": 3},
                }
            )
        )
        stage.upstreams["anthropic"].play(whole_of({"input_tokens": 42}))
        async with running(stage), _client(stage) as client:
            embedded = await client.post("/v1/embeddings", json={"model": "vectors", "input": "text"})
            assert embedded.json()["data"][0]["embedding"] == [0.5, -1.0], embedded.text
            assert embedded.headers["headrace-route"] == "provider:openai"
            counted = await client.post(
                "/v1/messages/count_tokens", json=_chat("counts"), headers={"anthropic-version": "2023-06-01"}
            )
            assert counted.json() == {"input_tokens": 42}
            assert counted.headers["headrace-route"] == "provider:anthropic"
