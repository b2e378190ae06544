"""The official clients read retained streams, whose frames have ids, as they read any other; over a real socket."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anthropic
import openai
import pytest

from headrace.gateway.retained.generations import RetainedGenerations
from headrace.schema.settings import RetentionSettings
from headrace.transport.retention import MemoryRetention, MemoryRetentionStore, RetentionLimits
from tests.integration.gateway.conftest import Serve
from tests.unit.gateway.doubles import HELLO, ScriptedSource, make_app

RETAIN = {"Headrace-Retain": "true"}
KEY = {"Idempotency-Key": "the-same"}


@asynccontextmanager
async def _serving(source: ScriptedSource, serve: Serve) -> AsyncGenerator[str]:
    limits = RetentionLimits(seconds=60.0, max_count=100, max_total_bytes=2**20)
    retained = RetainedGenerations(
        source,
        MemoryRetentionStore(MemoryRetention(limits)),
        settings=RetentionSettings(),
        default_timeout_seconds=100.0,
    )
    async with serve(make_app(source, retained=retained)) as port:
        yield f"http://127.0.0.1:{port}"
    await retained.close()


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource(*HELLO)


async def test_openai(source: ScriptedSource, serve: Serve) -> None:
    async with (
        _serving(source, serve) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        for _ in range(2):
            stream = await client.chat.completions.create(
                model="demo", messages=[{"role": "user", "content": "Hi"}], stream=True, extra_headers=KEY
            )
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            assert "".join(pieces) == "Hello, world"
        for _ in range(2):
            async with client.responses.stream(
                model="demo", input="Hi", extra_headers={"Headrace-Retain": "true"}
            ) as told:
                response = await told.get_final_response()
            assert response.output_text == "Hello, world"
    assert len(source.submissions) == 3


async def test_openai_responses_with_a_key_are_one_response(source: ScriptedSource, serve: Serve) -> None:
    async with (
        _serving(source, serve) as url,
        openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client,
    ):
        first = await client.responses.create(model="demo", input="Hi", extra_headers=KEY)
        again = await client.responses.create(model="demo", input="Hi", extra_headers=KEY)
        assert (again.id, again.output_text) == (first.id, "Hello, world")
        assert (await client.responses.retrieve(first.id)).output_text == "Hello, world"
    assert len(source.submissions) == 1


async def test_anthropic(source: ScriptedSource, serve: Serve) -> None:
    async with (
        _serving(source, serve) as url,
        anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as client,
    ):
        for _ in range(2):
            async with client.messages.stream(
                model="demo", max_tokens=9, messages=[{"role": "user", "content": "Hi"}], extra_headers=KEY
            ) as stream:
                texts = [text async for text in stream.text_stream]
            assert "".join(texts) == "Hello, world"
    assert len(source.submissions) == 1
