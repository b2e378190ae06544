"""The Responses API over a real socket: a stream as it grows, and clients that leave."""

import asyncio

import openai
import pytest
from openai.types.responses import ResponseTextDeltaEvent

from headrace.schema.events import (
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
)
from tests.integration.gateway.conftest import Serve
from tests.unit.gateway.doubles import USAGE, ScriptedSource, make_app

START = (GenerationStarted("w", 5), SequenceStarted(0))
END = (SequenceFinished(0, "stop"), GenerationFinished(USAGE))


async def test_deltas_come_as_they_are_made_and_can_be_gone_on_from(serve: Serve) -> None:
    gate = asyncio.Event()
    source = ScriptedSource(START, (SequenceDelta(0, "Hel"),), gate, (SequenceDelta(0, "lo"),), END)
    async with (
        serve(make_app(source)) as port,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0) as client,
    ):
        texts: list[str] = []
        response_id = ""
        async for event in await client.responses.create(model="demo", input="hi", stream=True):
            if isinstance(event, ResponseTextDeltaEvent):
                texts.append(event.delta)
                gate.set()
            elif event.type == "response.completed":
                response_id = event.response.id
                # Its last frame is out, so it is kept.
                await client.responses.create(model="demo", input="more", previous_response_id=response_id)
    assert texts == ["Hel", "lo"]
    assert [message.to_text() for message in source.submissions[1].request.messages] == ["hi", "Hello", "more"]


async def test_a_client_that_leaves_cancels_its_response_and_nothing_is_kept(serve: Serve) -> None:
    source = ScriptedSource(START, (SequenceDelta(0, "Hel"),), asyncio.Event())
    async with (
        serve(make_app(source)) as port,
        openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any", max_retries=0) as client,
    ):
        stream = await client.responses.create(model="demo", input="hi", stream=True)
        first = await anext(aiter(stream))
        assert first.type == "response.created"
        await stream.close()
        await source.until(lambda: source.generations[0].closed == 1)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(first.response.id)


async def test_a_client_that_leaves_a_background_response_leaves_it_running(serve: Serve) -> None:
    gate = asyncio.Event()
    source = ScriptedSource(START, gate, (SequenceDelta(0, "Hello"),), END)
    async with serve(make_app(source)) as port:
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any") as client:
            response = await client.responses.create(model="demo", input="hi", background=True)
        gate.set()
        await source.until(lambda: source.generations[0].closed == 1)
        async with openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="any") as client:
            async with asyncio.timeout(5):
                while response.status in ("queued", "in_progress"):
                    response = await client.responses.retrieve(response.id)
    assert response.output_text == "Hello"
