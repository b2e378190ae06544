"""The official Anthropic client: messages whole and streamed, tools and their results, counts, and errors."""

from typing import Any, cast

import anthropic
import httpx
import pytest
from anthropic.types import MessageParam, ToolParam, ToolResultBlockParam

from tests.clients.asked import ARGUMENTS, DESCRIPTIONS, Forecast, check_arguments
from tests.clients.target import Target

FRANCE: list[MessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: list[MessageParam] = [{"role": "user", "content": "What is the weather in Paris?"}]
TOOLS: list[ToolParam] = [
    {"name": name, "description": DESCRIPTIONS[name], "input_schema": kind.model_json_schema()}
    for name, kind in ARGUMENTS.items()
]

# The client has no argument for it any more; the API still takes it.
GREEDY = {"temperature": 0}

pytestmark = pytest.mark.timeout(180)


def _say(text: str) -> list[MessageParam]:
    return [{"role": "user", "content": text}]


def test_a_whole_message(claude: anthropic.Anthropic, target: Target) -> None:
    message = claude.messages.create(model=target.model, messages=FRANCE, extra_body=GREEDY, max_tokens=32)
    (block,) = message.content
    assert block.type == "text"
    assert block.text == "The capital of France is Paris."
    assert (message.role, message.stop_reason, message.stop_sequence) == ("assistant", "end_turn", None)
    assert message.id.startswith("msg_")
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


def test_a_streamed_message(claude: anthropic.Anthropic, target: Target) -> None:
    with claude.messages.stream(model=target.model, messages=FRANCE, extra_body=GREEDY, max_tokens=32) as stream:
        kinds = [event.type for event in stream]
        final = stream.get_final_message()
    assert stream.get_final_text() == "The capital of France is Paris."
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"]
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


async def test_the_async_client(async_claude: anthropic.AsyncAnthropic, target: Target) -> None:
    async with async_claude.messages.stream(
        model=target.model, messages=FRANCE, extra_body=GREEDY, max_tokens=32, system="You are a helpful assistant."
    ) as stream:
        text = "".join([piece async for piece in stream.text_stream])
    assert text
    assert text == (await stream.get_final_text())


def test_raw_events_come_in_order(claude: anthropic.Anthropic, target: Target) -> None:
    events = claude.messages.create(model=target.model, messages=FRANCE, extra_body=GREEDY, max_tokens=8, stream=True)
    kinds = [event.type for event in events]
    deltas = kinds.count("content_block_delta")
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * deltas,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_the_reasons_to_stop(claude: anthropic.Anthropic, target: Target) -> None:
    short = claude.messages.create(model=target.model, messages=_say("count"), max_tokens=3)
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)
    stopped = claude.messages.create(
        model=target.model, messages=FRANCE, extra_body=GREEDY, max_tokens=32, stop_sequences=[" is"]
    )
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", " is")


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_time"}], ids=["any", "named"])
def test_a_forced_call(claude: anthropic.Anthropic, target: Target, choice: dict[str, Any]) -> None:
    message = claude.messages.create(
        model=target.model,
        messages=WEATHER,
        max_tokens=100,
        tools=TOOLS,
        tool_choice={**choice, "disable_parallel_tool_use": True},  # pyright: ignore[reportArgumentType]
    )
    (block,) = [block for block in message.content if block.type == "tool_use"]
    assert message.stop_reason == "tool_use"
    assert block.id.startswith("toolu_")
    assert block.name == choice.get("name", block.name)
    check_arguments(block.name, block.input)


def test_a_streamed_call(claude: anthropic.Anthropic, target: Target) -> None:
    with claude.messages.stream(
        model=target.model,
        messages=WEATHER,
        max_tokens=100,
        tools=TOOLS,
        tool_choice={"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True},
    ) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()
    (block,) = [block for block in message.content if block.type == "tool_use"]
    check_arguments("get_weather", "".join(pieces))
    check_arguments("get_weather", block.input)


def test_a_form_is_parsed(claude: anthropic.Anthropic, target: Target) -> None:
    message = claude.messages.parse(model=target.model, messages=WEATHER, max_tokens=100, output_format=Forecast)
    assert isinstance(message.parsed_output, Forecast)


def test_parallel_calls_and_their_results(scripted: Target) -> None:
    with scripted.open_anthropic() as claude:
        asked = claude.messages.create(model=scripted.model, messages=WEATHER, max_tokens=100, tools=TOOLS)
        calls = [block for block in asked.content if block.type == "tool_use"]
        assert [call.name for call in calls] == ["get_weather", "get_time"]
        results: list[ToolResultBlockParam] = [
            {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"} for call in calls
        ]
        answered = claude.messages.create(
            model=scripted.model,
            messages=[
                *WEATHER,
                {"role": "assistant", "content": asked.content},
                {"role": "user", "content": results},
            ],
            max_tokens=100,
            tools=TOOLS,
        )
    assert answered.stop_reason == "end_turn"
    assert [block.type for block in answered.content] == ["text"]


def test_thinking_is_a_block_of_its_own(scripted: Target) -> None:
    with (
        scripted.open_anthropic() as claude,
        claude.messages.stream(
            model=scripted.model,
            messages=_say("think"),
            max_tokens=2048,
            thinking={"type": "enabled", "budget_tokens": 1024},
        ) as stream,
    ):
        message = stream.get_final_message()
    assert [block.type for block in message.content] == ["thinking", "text"]


def test_a_count_is_what_the_message_costs(claude: anthropic.Anthropic, target: Target) -> None:
    count = claude.messages.count_tokens(model=target.model, messages=FRANCE, system="Be brief.")
    message = claude.messages.create(model=target.model, messages=FRANCE, system="Be brief.", max_tokens=1)
    assert count.input_tokens == message.usage.input_tokens > 0


def test_models(claude: anthropic.Anthropic, target: Target) -> None:
    page = claude.models.list()
    assert target.model in [model.id for model in page.data]
    assert claude.models.retrieve(target.model).type == "model"
    with pytest.raises(anthropic.NotFoundError):
        claude.models.retrieve("nobody")


def test_a_wrong_key(scripted: Target) -> None:
    claude = anthropic.Anthropic(base_url=scripted.server.address, api_key="wrong", max_retries=0)
    with claude, pytest.raises(anthropic.AuthenticationError) as caught:
        claude.messages.create(model=scripted.model, messages=FRANCE, max_tokens=8)
    assert _kind_of(caught.value) == "authentication_error"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fields",
    [{"messages": []}, {"temperature": 3}, {"max_tokens": 0}, {"colour": "red"}, {"tool_choice": {"type": "any"}}],
    ids=",".join,
)
def test_a_bad_request(claude: anthropic.Anthropic, target: Target, fields: dict[str, object], *, stream: bool) -> None:
    with pytest.raises(anthropic.BadRequestError) as caught:
        claude.messages.create(model=target.model, messages=FRANCE, max_tokens=8, stream=stream, extra_body=fields)
    assert _kind_of(caught.value) == "invalid_request_error"
    assert next(iter(fields)) in caught.value.message
    assert caught.value.request_id


def test_an_unknown_model(claude: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        claude.messages.create(model="nobody", messages=FRANCE, max_tokens=8)
    assert _kind_of(caught.value) == "not_found_error"


def test_an_engine_that_fails(scripted: Target) -> None:
    with scripted.open_anthropic() as claude:
        with pytest.raises(anthropic.InternalServerError):
            claude.messages.create(model=scripted.model, messages=_say("fail now"), max_tokens=8)
        stream = claude.messages.create(model=scripted.model, messages=_say("fail later"), max_tokens=80, stream=True)
        with pytest.raises(anthropic.APIStatusError) as caught:
            list(stream)
    assert _kind_of(caught.value) == "api_error"


def test_a_client_that_leaves_frees_the_engine(claude: anthropic.Anthropic, target: Target) -> None:
    before = target.cancelled()
    stream = claude.messages.create(
        model=target.model, messages=_say("Tell a long story, for ever."), max_tokens=1500, stream=True
    )
    for event in stream:
        if event.type == "content_block_delta":
            break
    stream.close()
    if target.is_scripted:
        target.wait_cancelled(before + 1)


def _kind_of(error: anthropic.APIStatusError) -> str:
    body = cast("dict[str, dict[str, str]]", error.body)
    return body["error"]["type"]


def test_a_call_without_a_version_is_answered(scripted: Target) -> None:
    """As other makers' clients send it: with the key as a bearer, and no version of the API."""
    body = {"model": scripted.model, "messages": FRANCE, "max_tokens": 8}
    for headers in ({"x-api-key": scripted.key}, {"Authorization": f"Bearer {scripted.key}"}):
        answer = httpx.post(f"{scripted.server.address}/v1/messages", json=body, headers=headers)
        assert answer.status_code == 200
