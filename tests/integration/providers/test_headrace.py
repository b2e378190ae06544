"""A provider that is another Headrace, by OpenAI's dialect and by Anthropic's: client and server of one wire meet."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from headrace.providers.base import ProviderCall, ProviderError
from headrace.providers.build import build_provider
from headrace.schema.errors import ErrorCode
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags
from headrace.schema.settings import ProviderSettings
from headrace.schema.tools import Tool, ToolChoice
from tests.support.providers import collect, fold
from tests.support.scripted_serving import CHAT_MODEL, scripted_serving
from tests.support.serving import Serving

SCRIPT = """
step_seconds = 0.0

[[rules]]
when = "weather"
reasoning = "They want the weather."
text = "I look. 🌦"
tool_calls = [{name = "weather", arguments = {city = "Zürich"}}]

[[rules]]
when = "long"
tokens = 100000
step_seconds = 0.01

[[rules]]
text = "A short answer."
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with scripted_serving(tmp_path_factory.mktemp("upstream"), script=SCRIPT) as serving:
        yield serving


def settings_for(kind: Any, server: Serving) -> ProviderSettings:
    path = "/v1" if kind == "openai" else ""
    return ProviderSettings(kind=kind, base_url=f"{server.address}{path}", vllm_fields=kind == "openai")


def call_for(text: str, **fields: Any) -> ProviderCall:
    request = ChatCompletionRequest(
        model=CHAT_MODEL, messages=(Message("user", text),), output=OutputFlags(reasoning=True), **fields
    )
    return ProviderCall(request_id="gen_1", request=request, timeout_seconds=60.0)


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_an_answer_with_thoughts_and_calls(server: Serving, kind: str) -> None:
    provider = build_provider("headrace", settings_for(kind, server))
    try:
        tools = (Tool(name="weather", parameters={"type": "object"}),)
        few = GenerationParameters(max_tokens=100)
        call = call_for("the weather", tools=tools, tool_choice=ToolChoice(), generation_parameters=few)
        answer = fold(await collect(provider, call))
        await provider.check()
    finally:
        await provider.close()
    (sequence,) = answer.sequences
    assert sequence.text == "I look. 🌦"
    assert sequence.reasoning == "They want the weather."
    assert [(call.name, call.arguments) for call in sequence.tool_calls] == [("weather", '{"city":"Zürich"}')]
    assert sequence.finish_reason == "tool_calls"
    assert answer.usage.input_tokens > 0
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_model_that_it_does_not_have(server: Serving, kind: str) -> None:
    provider = build_provider("headrace", settings_for(kind, server))
    try:
        request = ChatCompletionRequest(model="nothing", messages=(Message("user", "Hello"),))
        call = ProviderCall(request_id="gen_1", request=request, timeout_seconds=60.0)
        with pytest.raises(ProviderError) as caught:
            await collect(provider, call)
    finally:
        await provider.close()
    assert caught.value.code == ErrorCode.MODEL_NOT_FOUND


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_more_than_fits(server: Serving, kind: str) -> None:
    provider = build_provider("headrace", settings_for(kind, server))
    try:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, call_for("Hi", generation_parameters=GenerationParameters(max_tokens=5000)))
    finally:
        await provider.close()
    assert caught.value.code == ErrorCode.CONTEXT_LENGTH_EXCEEDED


async def test_leaving_frees_its_slot(server: Serving) -> None:
    provider = build_provider("headrace", settings_for("openai", server))
    try:
        lists = provider.generate(call_for("long", generation_parameters=GenerationParameters(max_tokens=200)))
        await anext(lists)
        await lists.aclose()
        gauge = f'headrace_gateway_in_flight{{dialect="openai",model="{CHAT_MODEL}"}} 0.0'
        is_free = False
        async with httpx.AsyncClient() as client:
            for _ in range(400):
                if is_free := gauge in (await client.get(f"{server.address}/metrics")).text:
                    break
                await asyncio.sleep(0.05)
            assert is_free
    finally:
        await provider.close()
