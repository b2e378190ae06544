"""Anthropic's official clients get what they expect, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import pytest
from anthropic.types import MessageParam, ToolParam
from dirty_equals import IsStr
from pydantic import BaseModel

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    ToolCallDelta,
    Usage,
)
from headrace.schema.formats import JsonSchemaFormat
from headrace.schema.messages import ToolResultPart
from headrace.schema.settings import GatewaySettings, Secret
from tests.integration.gateway.conftest import Serve
from tests.unit.gateway.doubles import HELLO, USAGE, ScriptedSource, Step, make_app

HI: list[MessageParam] = [{"role": "user", "content": "Hi"}]
WEATHER: ToolParam = {
    "name": "weather",
    "description": "tells the weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
CALLING: tuple[Step, ...] = (
    (GenerationQueued(3), GenerationStarted("w", 5), SequenceStarted(0)),
    (SequenceDelta(0, "", reasoning="I must"), SequenceDelta(0, "Let me", reasoning=" look")),
    (SequenceDelta(0, " look é\u2028😀", tool_calls=(ToolCallDelta(0, '{"ci', id="call_1", name="weather"),)),),
    (SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, 'ty":"Köln"}'),)),),
    (SequenceFinished(0, "tool_calls"), GenerationFinished(USAGE)),
)
CALLED: list[dict[str, Any]] = [
    {"type": "thinking", "thinking": "I must look", "signature": IsStr(regex="gen_[0-9a-f]{32}")},
    {"type": "text", "text": "Let me look é\u2028😀"},
    {
        "type": "tool_use",
        "id": "toolu_1",
        "name": "weather",
        "input": {"city": "Köln"},
        "caller": {"type": "direct"},
    },
]


@pytest.fixture
def source() -> ScriptedSource:
    return ScriptedSource(*HELLO)


@pytest.fixture
async def url(source: ScriptedSource, serve: Serve) -> AsyncIterator[str]:
    async with serve(make_app(source, settings=GatewaySettings(api_key=Secret("sk-right")))) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def client(url: str) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-right", max_retries=0) as client:
        yield client


async def test_whole(client: anthropic.AsyncAnthropic, source: ScriptedSource) -> None:
    answer = await client.messages.create(
        model="demo",
        max_tokens=9,
        messages=HI,
        system="Be brief",
        stop_sequences=["END"],
        metadata={"user_id": "me"},
        extra_body={"temperature": 0},
    )
    assert answer.to_dict() == {
        "id": IsStr(regex="msg_[0-9a-f]{32}"),
        "type": "message",
        "role": "assistant",
        "model": "demo",
        "content": [{"type": "text", "text": "Hello, world"}],
        "stop_reason": "stop_sequence",
        "stop_sequence": "END",
        "stop_details": None,
        "container": None,
        "diagnostics": None,
        "usage": {
            "input_tokens": 3,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 2,
            "cache_creation": {"ephemeral_1h_input_tokens": 0, "ephemeral_5m_input_tokens": 0},
            "output_tokens": 7,
            "output_tokens_details": {"thinking_tokens": 0},
            "server_tool_use": None,
            "service_tier": "standard",
            "inference_geo": None,
            "speed": None,
        },
    }
    request = source.submissions[0].request
    assert answer._request_id == source.submissions[0].request_id  # pyright: ignore[reportPrivateUsage]
    assert (request.generation_parameters.temperature, request.generation_parameters.stop) == (0, ("END",))
    assert [message.role for message in request.messages] == ["system", "user"]


async def test_stream_with_thoughts_and_a_call(client: anthropic.AsyncAnthropic, source: ScriptedSource) -> None:
    source.steps = CALLING
    async with client.messages.stream(
        model="demo", max_tokens=2048, messages=HI, tools=[WEATHER], thinking={"type": "enabled", "budget_tokens": 1024}
    ) as stream:
        texts = [text async for text in stream.text_stream]
        message = await stream.get_final_message()
    whole = await client.messages.create(
        model="demo", max_tokens=2048, messages=HI, tools=[WEATHER], thinking={"type": "adaptive"}
    )
    assert texts == ["Let me", " look é\u2028😀"]
    assert message.to_dict()["content"] == CALLED
    assert whole.to_dict()["content"] == CALLED
    assert message.stop_reason == whole.stop_reason == "tool_use"
    assert message.usage.to_dict() == whole.usage.to_dict()


async def test_an_answer_can_be_sent_back(client: anthropic.AsyncAnthropic, source: ScriptedSource) -> None:
    source.steps = CALLING
    first = await client.messages.create(
        model="demo", max_tokens=2048, messages=HI, tools=[WEATHER], thinking={"type": "adaptive"}
    )
    source.steps = HELLO
    result: MessageParam = {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "rain"}],
    }
    await client.messages.create(model="demo", max_tokens=9, messages=[*HI, first.to_param(), result], tools=[WEATHER])
    user, assistant, tool = source.submissions[1].request.messages
    assert (user.role, assistant.to_text()) == ("user", "Let me look é\u2028😀")
    assert tool.content == (ToolResultPart(tool_call_id="call_1", content="rain"),)


class City(BaseModel):
    """What the answer must be."""

    name: str


async def test_structured_outputs(client: anthropic.AsyncAnthropic, source: ScriptedSource) -> None:
    source.steps = ((SequenceDelta(0, '{"name":"Köln"}'), SequenceFinished(0, "stop"), GenerationFinished(USAGE)),)
    answer = await client.messages.parse(model="demo", max_tokens=9, messages=HI, output_format=City)
    assert answer.parsed_output == City(name="Köln")
    assert isinstance(source.submissions[0].request.response_format, JsonSchemaFormat)


async def test_the_client_without_asyncio(url: str, source: ScriptedSource) -> None:
    def ask() -> list[str]:
        with anthropic.Anthropic(base_url=url, api_key="sk-right", max_retries=0) as client:
            whole = client.messages.create(model="demo", max_tokens=9, messages=HI)
            with client.messages.stream(model="demo", max_tokens=9, messages=HI) as stream:
                streamed = stream.get_final_message()
            kinds = [
                event.type for event in client.messages.create(model="demo", max_tokens=9, messages=HI, stream=True)
            ]
            count = client.messages.count_tokens(model="demo", messages=HI)
            models = [model.id for model in client.models.list(limit=1)]
        assert [block.to_dict() for block in whole.content] == [block.to_dict() for block in streamed.content]
        return [*kinds, str(count.input_tokens), *models]

    assert await asyncio.to_thread(ask) == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "5",
        "demo",
        "org/large",
    ]


async def test_counting(client: anthropic.AsyncAnthropic, source: ScriptedSource) -> None:
    source.steps = ((GenerationStarted("w", 11), GenerationFinished(Usage(11, 0))),)
    count = await client.messages.count_tokens(
        model="demo", messages=HI, system="Be brief", tools=[WEATHER], thinking={"type": "disabled"}
    )
    assert count.to_dict() == {"input_tokens": 11}
    assert source.submissions[0].request.count_only


async def test_a_failure_in_the_stream_is_raised(client: anthropic.AsyncAnthropic, source: ScriptedSource) -> None:
    failed = GenerationFailed("worker_lost", "the worker is gone", "decode", retryable=True)
    source.steps = ((SequenceStarted(0), SequenceDelta(0, "Hel")), (failed,))
    stream = await client.messages.create(model="demo", max_tokens=9, messages=HI, stream=True)
    begun = [(await anext(stream)).type for _ in range(3)]
    assert begun == ["message_start", "content_block_start", "content_block_delta"]
    with pytest.raises(anthropic.APIStatusError, match="the worker is gone") as raised:
        await anext(stream)
    assert raised.value.body == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "the worker is gone"},
        "request_id": source.submissions[0].request_id,
    }


@pytest.mark.parametrize("stream", [True, False])
async def test_a_failure_before_the_stream_has_its_status(
    client: anthropic.AsyncAnthropic, source: ScriptedSource, stream: bool
) -> None:
    failed = GenerationFailed("context_length_exceeded", "too long", "prefill", retryable=False, param="messages[0]")
    source.steps = ((GenerationQueued(0), GenerationStarted("w")), (failed,))
    with pytest.raises(anthropic.BadRequestError, match="messages: too long") as raised:
        await client.messages.create(model="demo", max_tokens=9, messages=HI, stream=stream)
    assert raised.value.request_id == source.submissions[0].request_id


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ErrorCode.OVERLOADED, anthropic.RateLimitError),
        (ErrorCode.BROKER_UNAVAILABLE, anthropic.OverloadedError),
        (ErrorCode.DEADLINE_EXCEEDED, anthropic.GatewayTimeoutError),
    ],
)
async def test_refusals_have_the_class_that_clients_catch(
    client: anthropic.AsyncAnthropic, source: ScriptedSource, code: ErrorCode, kind: type[anthropic.APIStatusError]
) -> None:
    source.refusal = HeadraceError(code, "no")
    with pytest.raises(kind):
        await client.messages.create(model="demo", max_tokens=9, messages=HI)


async def test_a_key_is_taken_by_either_header(url: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=url, api_key="sk-wrong", max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.models.list()
        page = await client.models.list(extra_headers={"X-Api-Key": "sk-right"})
    assert [model.id for model in page.data] == ["demo", "org/large"]


async def test_one_model(client: anthropic.AsyncAnthropic) -> None:
    assert (await client.models.retrieve("org/large")).display_name == "org/large"
    with pytest.raises(anthropic.NotFoundError):
        await client.models.retrieve("other")


async def test_what_is_not_there(client: anthropic.AsyncAnthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as raised:
        await client.messages.batches.list()
    assert raised.value.type == "not_found_error"
    with pytest.raises(anthropic.BadRequestError, match="web_search_20260318"):
        await client.messages.create(
            model="demo", max_tokens=9, messages=HI, tools=[{"type": "web_search_20260318", "name": "web_search"}]
        )
