"""The official clients skip what a stream says while its request waits for a worker."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import anthropic
import openai
import pytest

from headrace.schema.events import GenerationQueued
from headrace.schema.settings import GatewaySettings
from tests.integration.gateway.conftest import Serve
from tests.unit.gateway.doubles import HELLO, ScriptedSource, make_app

Ask = Callable[[str], Awaitable[str]]


async def ask_chat(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        stream = await client.chat.completions.create(
            model="demo", messages=[{"role": "user", "content": "Hi"}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])


async def ask_completions(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        stream = await client.completions.create(model="demo", prompt="Hi", stream=True)
        return "".join([chunk.choices[0].text async for chunk in stream])


async def ask_responses(url: str) -> str:
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        stream = await client.responses.create(model="demo", input="Hi", stream=True)
        return "".join([event.delta async for event in stream if event.type == "response.output_text.delta"])


async def ask_anthropic(url: str) -> str:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as client:
        asked = client.messages.stream(model="demo", max_tokens=9, messages=[{"role": "user", "content": "Hi"}])
        async with asked as stream:
            return "".join([text async for text in stream.text_stream])


@pytest.fixture
def gate() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
def source(gate: asyncio.Event) -> ScriptedSource:
    source = ScriptedSource((GenerationQueued(7),), gate, *HELLO)
    source.queued = GenerationQueued(3, 12.0)
    return source


@pytest.fixture
async def url(source: ScriptedSource, serve: Serve) -> AsyncIterator[str]:
    settings = GatewaySettings(header_wait_seconds=0.02, keepalive_seconds=0.02)
    async with serve(make_app(source, settings=settings)) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.mark.parametrize("ask", [ask_chat, ask_completions, ask_responses, ask_anthropic])
async def test_the_answer_is_whole(ask: Ask, url: str, source: ScriptedSource, gate: asyncio.Event) -> None:
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(asyncio.wait_for(ask(url), 20))
        await source.until(lambda: source.waits_told >= 3)
        gate.set()
    assert asking.result() == "Hello, world"
