"""The official client gets what it expects, over a real socket."""

from collections.abc import AsyncIterator

import openai
import pytest
from dirty_equals import IsPositiveInt, IsStr

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
)
from headrace.schema.settings import GatewaySettings, Secret
from tests.integration.gateway.conftest import Serve
from tests.unit.gateway.doubles import HELLO, USAGE, ScriptedSource, make_app

TWO = (
    (GenerationQueued(3), GenerationStarted("w", 5), SequenceStarted(0), SequenceStarted(1)),
    (SequenceDelta(1, "b1"), SequenceDelta(0, "a1")),
    (SequenceDelta(0, "a2"), SequenceFinished(0, "length"), SequenceDelta(1, "b2 é\u2028\x85😀")),
    (SequenceFinished(1, "stop"), GenerationFinished(USAGE)),
)


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource(*HELLO)


@pytest.fixture
async def client(source: ScriptedSource, serve: Serve) -> AsyncIterator[openai.AsyncOpenAI]:
    settings = GatewaySettings(api_key=Secret("sk-right"))
    async with serve(make_app(source, settings=settings)) as port:
        url = f"http://127.0.0.1:{port}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="sk-right", max_retries=0) as client:
            yield client


async def test_whole(client: openai.AsyncOpenAI, source: ScriptedSource) -> None:
    answer = await client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hi"}], temperature=0, stop="END", max_completion_tokens=9
    )
    assert answer.model_dump(exclude_unset=True) == {
        "id": IsStr(regex="chatcmpl-[0-9a-f]{32}"),
        "object": "chat.completion",
        "created": IsPositiveInt(),
        "model": "demo",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello, world", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 7,
            "total_tokens": 12,
            "prompt_tokens_details": {"cached_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
        "system_fingerprint": None,
    }
    parameters = source.submissions[0].request.generation_parameters
    assert (parameters.temperature, parameters.stop, parameters.max_tokens) == (0, ("END",), 9)


async def test_stream_of_two(client: openai.AsyncOpenAI, source: ScriptedSource) -> None:
    source.steps = TWO
    texts = {0: "", 1: ""}
    ends: dict[int, str] = {}
    usage = None
    stream = await client.chat.completions.create(
        model="demo",
        messages=[
            {"role": "developer", "content": "Be brief"},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
        ],
        n=2,
        stream=True,
        stream_options={"include_usage": True},
    )
    async for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            if choice.finish_reason:
                ends[choice.index] = choice.finish_reason
        usage = chunk.usage or usage
    assert texts == {0: "a1a2", 1: "b1b2 é\u2028\x85😀"}
    assert ends == {0: "length", 1: "stop"}
    assert usage is not None
    assert usage.total_tokens == 12
    assert source.submissions[0].request.messages[0].role == "system"


async def test_stream_without_usage(client: openai.AsyncOpenAI) -> None:
    stream = await client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    chunks = [chunk async for chunk in stream]
    assert [len(chunk.choices) for chunk in chunks] == [1, 1, 1, 1]
    assert not any("usage" in chunk.model_fields_set for chunk in chunks)


async def test_a_failure_in_the_stream_is_raised(client: openai.AsyncOpenAI, source: ScriptedSource) -> None:
    failed = GenerationFailed("worker_lost", "the worker is gone", "decode", retryable=True)
    source.steps = ((SequenceStarted(0), SequenceDelta(0, "Hel")), (failed,))
    stream = await client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    begun = [await anext(stream), await anext(stream)]
    assert [chunk.choices[0].delta.content for chunk in begun] == ["", "Hel"]
    with pytest.raises(openai.APIError, match="the worker is gone") as raised:
        await anext(stream)
    assert raised.value.code == "worker_lost"
    assert raised.value.type == "server_error"


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_stream_has_its_status(
    client: openai.AsyncOpenAI, source: ScriptedSource, stream: bool
) -> None:
    failed = GenerationFailed("context_length_exceeded", "too long", "prefill", retryable=False, param="messages")
    source.steps = ((GenerationQueued(0), GenerationStarted("w")), (failed,))
    with pytest.raises(openai.BadRequestError) as raised:
        await client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hi"}], stream=stream)
    assert raised.value.code == "context_length_exceeded"
    assert raised.value.param == "messages"
    assert raised.value.request_id == source.submissions[0].request_id


async def test_an_overload_tells_when_to_come_back(client: openai.AsyncOpenAI, source: ScriptedSource) -> None:
    source.refusal = HeadraceError(ErrorCode.OVERLOADED, "too many")
    with pytest.raises(openai.RateLimitError) as raised:
        await client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hi"}])
    assert raised.value.response.headers["retry-after"] == "1"
    assert (raised.value.type, raised.value.code) == ("requests", "rate_limit_exceeded")


async def test_a_wrong_field_is_named(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        await client.chat.completions.create(model="demo", messages=[{"role": "user", "content": "Hi"}], temperature=3)
    assert (raised.value.param, raised.value.code) == ("temperature", "decimal_above_max_value")


async def test_a_wrong_key_is_refused(client: openai.AsyncOpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as raised:
        await client.with_options(api_key="sk-wrong").models.list()
    assert raised.value.code == "invalid_api_key"


async def test_models(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["demo", "org/large"]
    model = await client.models.retrieve("org/large")
    assert model.model_dump(exclude_unset=True) == {
        "id": "org/large",
        "object": "model",
        "created": 1700000001,
        "owned_by": "them",
    }
    with pytest.raises(openai.NotFoundError) as raised:
        await client.models.retrieve("other")
    assert raised.value.code == "model_not_found"
