"""Settings change under a server that runs, and no stream notices."""

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
from structlog.testing import capture_logs

from tests.integration.routing.rig import WAIT_SECONDS, open_stage, running
from tests.support.upstream import stream_of
from tests.support.vendor_streams import STREAMS

TEXT = STREAMS[0]
ROUTE = '[routes.chat]\ntargets = [{ model = "openai/big" }]\n'
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}]}


async def _names(client: httpx.AsyncClient) -> list[str]:
    return [model["id"] for model in (await client.get("/v1/models")).json()["data"]]


async def _until(claim: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not claim():  # noqa: ASYNC110 - the log has no event to wait for
            await asyncio.sleep(0.01)


async def _until_listed(client: httpx.AsyncClient, names: list[str]) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while await _names(client) != names:  # noqa: ASYNC110 - the list has no event to wait for
            await asyncio.sleep(0.01)


def _events(logs: list[dict[str, object]], name: str) -> list[dict[str, object]]:
    return [line for line in logs if line["event"] == name]


async def test_a_stream_goes_on_while_its_provider_is_taken_away(tmp_path: Path) -> None:
    go_on = asyncio.Event()
    async with open_stage(tmp_path) as stage:
        stage.write(stage.providers("openai") + ROUTE)
        half = len(TEXT.events) // 2
        stage.upstreams["openai"].play(stream_of(*TEXT.events[:half], go_on, *TEXT.events[half:]))
        async with running(stage), httpx.AsyncClient(base_url=stage.url, timeout=WAIT_SECONDS) as client:
            async with client.stream("POST", "/v1/generations", json={**CHAT, "stream": True}) as answer:
                lines = answer.aiter_lines()
                read = [await anext(lines)]
                stage.write('[routes.chat]\ntargets = [{ model = "own" }]\n')
                await _until_listed(client, ["chat", "own"])
                whole = (await client.post("/v1/generations", json=CHAT)).json()
                assert whole["sequences"][0]["text"] == "our own words"
                go_on.set()
                read += [line async for line in lines]
            text = "".join(read)
            assert "generation_finished" in text
            assert "完了"[1] in text
            assert stage.upstreams["openai"].left == 0


async def test_a_model_that_is_added_has_its_queue(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write("")
        async with running(stage), httpx.AsyncClient(base_url=stage.url, timeout=WAIT_SECONDS) as client:
            stage.write('[models.second]\nweights = "tiny:random"\n')
            await _until_listed(client, ["own", "second"])
            # It has no worker yet, so its request waits in its queue up to the deadline; without one it would be 503.
            headers = {"Headrace-Timeout-Seconds": "0.2"}
            answer = await client.post("/v1/generations", json={**CHAT, "model": "second"}, headers=headers)
            assert answer.json()["error"]["code"] == "deadline_exceeded"


async def test_a_bad_file_changes_nothing_and_says_why(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write('[routes.chat]\ntargets = [{ model = "own" }]\n')
        with capture_logs() as logs:
            async with running(stage), httpx.AsyncClient(base_url=stage.url, timeout=WAIT_SECONDS) as client:
                stage.write('[routes.chat]\ntargets = [{ model = "nobody" }]\n')
                await _until(lambda: bool(_events(logs, "settings not reloaded")))  # pyright: ignore[reportArgumentType]
                assert await _names(client) == ["chat", "own"]
                stage.write('[routes.talk]\ntargets = [{ model = "own" }]\n')
                await _until_listed(client, ["talk", "own"])
    problems = _events(logs, "settings not reloaded")[0]["problems"]  # pyright: ignore[reportArgumentType]
    assert "nobody is no model" in str(problems)


async def test_a_hangup_reloads_and_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    async with open_stage(tmp_path) as stage:
        stage.write("")
        text = stage.path.read_text().replace("reload_seconds = 0.02", "reload_seconds = 0.0")
        stage.path.write_text(text)
        with capture_logs() as logs:
            async with running(stage), httpx.AsyncClient(base_url=stage.url, timeout=WAIT_SECONDS) as client:
                changed = text.replace("[gateway]", "[gateway]\nport = 1234")
                stage.path.write_text(changed + '[routes.chat]\ntargets = [{ model = "own" }]\n')
                os.kill(os.getpid(), signal.SIGHUP)
                await _until_listed(client, ["chat", "own"])
    assert _events(logs, "settings need a restart")[0]["settings"] == ["gateway.port"]  # pyright: ignore[reportArgumentType]
