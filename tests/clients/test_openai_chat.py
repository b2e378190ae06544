"""The official OpenAI client's chat completions: whole, streamed, with tools, in a form."""

import asyncio

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionNamedToolChoiceParam

from tests.clients.asked import CHAT_TOOLS, FRANCE, WEATHER, Forecast, check_arguments, say
from tests.clients.target import Target

NAMED: ChatCompletionNamedToolChoiceParam = {"type": "function", "function": {"name": "get_time"}}

pytestmark = pytest.mark.timeout(180)


def test_a_whole_answer(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=FRANCE, temperature=0, max_tokens=32)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content) == ("assistant", "The capital of France is Paris.")
    assert (choice.finish_reason, choice.message.refusal, choice.message.tool_calls) == ("stop", None, None)
    assert answer.model == target.model
    assert answer._request_id  # pyright: ignore[reportPrivateUsage] - documented, for all its underscore
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_with_usage(client: openai.OpenAI, target: Target) -> None:
    chunks = list(
        client.chat.completions.create(
            model=target.model,
            messages=FRANCE,
            temperature=0,
            max_tokens=32,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices)
    assert text == "The capital of France is Paris."
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_the_async_client(async_client: openai.AsyncOpenAI, target: Target) -> None:
    async with async_client.chat.completions.stream(
        model=target.model, messages=FRANCE, temperature=0, max_tokens=32
    ) as stream:
        texts = [event.delta async for event in stream if event.type == "content.delta"]
        final = await stream.get_final_completion()
    assert final.choices[0].message.content == "".join(texts) == "The capital of France is Paris."


def test_several_sequences(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(
        model=target.model, messages=say("count"), n=3, max_tokens=8, temperature=1.0, seed=1
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert all(choice.message.content for choice in answer.choices)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 24


def test_max_completion_tokens_ends_with_length(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=say("count"), max_completion_tokens=5)
    assert answer.usage is not None
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 5)


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(model=target.model, messages=FRANCE, temperature=0, stop=[" is", "zzz"])
    assert answer.choices[0].message.content == "The capital of France"
    assert answer.choices[0].finish_reason == "stop"


def test_a_seed_gives_the_same_answer_again(client: openai.OpenAI, target: Target) -> None:
    def ask() -> str | None:
        answer = client.chat.completions.create(
            model=target.model,
            messages=say("Tell me a story."),
            seed=42,
            temperature=1.0,
            top_p=0.9,
            presence_penalty=0.5,
            frequency_penalty=0.5,
            max_tokens=12,
        )
        return answer.choices[0].message.content

    assert ask() == ask()


def test_logprobs(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(
        model=target.model, messages=FRANCE, temperature=0, max_tokens=8, logprobs=True, top_logprobs=3
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None
    assert logprobs.content
    text = b"".join(bytes(token.bytes or ()) for token in logprobs.content).decode()
    assert text.startswith(answer.choices[0].message.content or "?")
    for token in logprobs.content:
        assert token.logprob <= 0
        assert len(token.top_logprobs) == 3


def test_logprobs_of_a_stream_are_those_of_the_whole(client: openai.OpenAI, target: Target) -> None:
    with client.chat.completions.stream(
        model=target.model, messages=FRANCE, temperature=0, max_tokens=8, logprobs=True, top_logprobs=2
    ) as stream:
        streamed = stream.get_final_completion().choices[0].logprobs
    whole = client.chat.completions.create(
        model=target.model, messages=FRANCE, temperature=0, max_tokens=8, logprobs=True, top_logprobs=2
    )
    assert streamed is not None
    assert streamed.content is not None
    assert whole.choices[0].logprobs is not None
    assert whole.choices[0].logprobs.content is not None
    assert [token.token for token in streamed.content] == [token.token for token in whole.choices[0].logprobs.content]


def test_a_form_is_parsed(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.parse(
        model=target.model, messages=WEATHER, response_format=Forecast, max_tokens=64, temperature=1.0, n=2
    )
    assert [isinstance(choice.message.parsed, Forecast) for choice in answer.choices] == [True, True]


def test_a_streamed_form_is_parsed(client: openai.OpenAI, target: Target) -> None:
    with client.chat.completions.stream(
        model=target.model, messages=WEATHER, response_format=Forecast, max_tokens=64
    ) as stream:
        assert isinstance(stream.get_final_completion().choices[0].message.parsed, Forecast)


def test_any_json_object(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(
        model=target.model, messages=say("Say JSON."), response_format={"type": "json_object"}, max_tokens=40
    )
    assert (answer.choices[0].message.content or "").lstrip().startswith("{")


def test_a_required_call(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(
        model=target.model,
        messages=WEATHER,
        tools=CHAT_TOOLS,
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=100,
        temperature=1.0,
        n=2,
    )
    for choice in answer.choices:
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        (call,) = choice.message.tool_calls
        assert call.type == "function"
        assert call.id.startswith("call_")
        check_arguments(call.function.name, call.function.arguments)


def test_a_named_call_that_is_streamed(client: openai.OpenAI, target: Target) -> None:
    with client.chat.completions.stream(
        model=target.model, messages=WEATHER, tools=CHAT_TOOLS, tool_choice=NAMED, max_tokens=100
    ) as stream:
        deltas = [event.arguments_delta for event in stream if event.type == "tool_calls.function.arguments.delta"]
        choice = stream.get_final_completion().choices[0]
    assert choice.finish_reason == "stop"
    assert choice.message.tool_calls is not None
    (call,) = choice.message.tool_calls
    assert call.function.name == "get_time"
    assert call.function.arguments == "".join(deltas)
    check_arguments("get_time", call.function.arguments)


def test_allowed_tools(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(
        model=target.model,
        messages=WEATHER,
        tools=CHAT_TOOLS,
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "required",
                "tools": [{"type": "function", "function": {"name": "get_time"}}],
            },
        },
        parallel_tool_calls=False,
        max_tokens=100,
    )
    calls = answer.choices[0].message.tool_calls or []
    assert {call.function.name for call in calls if call.type == "function"} == {"get_time"}


def test_no_call(client: openai.OpenAI, target: Target) -> None:
    answer = client.chat.completions.create(
        model=target.model, messages=WEATHER, tools=CHAT_TOOLS, tool_choice="none", max_tokens=8
    )
    assert answer.choices[0].message.tool_calls is None


def test_parallel_calls_and_their_results(scripted: Target) -> None:
    with scripted.open_openai() as client:
        with client.chat.completions.stream(model=scripted.model, messages=WEATHER, tools=CHAT_TOOLS) as stream:
            choice = stream.get_final_completion().choices[0]
        assert choice.finish_reason == "tool_calls"
        assert choice.message.tool_calls is not None
        assert [call.function.name for call in choice.message.tool_calls] == ["get_weather", "get_time"]
        for call in choice.message.tool_calls:
            check_arguments(call.function.name, call.function.arguments)
        results: list[ChatCompletionMessageParam] = [
            {"role": "tool", "tool_call_id": call.id, "content": "sunny"} for call in choice.message.tool_calls
        ]
        again: ChatCompletionMessageParam = {
            "role": "assistant",
            "content": choice.message.content,
            "tool_calls": [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
                for call in choice.message.tool_calls
            ],
        }
        answer = client.chat.completions.create(
            model=scripted.model, messages=[*WEATHER, again, *results], tools=CHAT_TOOLS
        )
    assert answer.choices[0].message.content == "It is sunny."


def test_reasoning_is_a_field_of_its_own(scripted: Target) -> None:
    with scripted.open_openai() as client:
        answer = client.chat.completions.create(
            model=scripted.model, messages=say("think"), extra_body={"include_reasoning": True}
        )
    message = answer.choices[0].message
    assert message.content == "I have thought."
    assert (message.model_extra or {})["reasoning"] == "Let me see. "


async def test_64_streams_at_once(async_client: openai.AsyncOpenAI, target: Target) -> None:
    async def ask(number: int) -> tuple[str, str | None]:
        stream = await async_client.chat.completions.create(
            model=target.model,
            messages=say(f"Say the number {number}."),
            stream=True,
            max_tokens=6,
            seed=number,
            temperature=1.0,
        )
        chunks = [chunk async for chunk in stream]
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
        return text, chunks[-1].choices[0].finish_reason

    answers = await asyncio.gather(*(ask(number) for number in range(64)))
    assert all(text and reason in {"stop", "length"} for text, reason in answers)
    assert target.is_scripted or len({text for text, _ in answers}) > 16


@pytest.mark.engine
def test_the_parameters_of_vllm(vllm: Target) -> None:
    with vllm.open_openai() as client:
        answer = client.chat.completions.create(
            model=vllm.model,
            messages=FRANCE,
            max_tokens=8,
            extra_body={
                "top_k": 1,
                "min_p": 0.05,
                "repetition_penalty": 1.1,
                "priority": 1,
                "structured_outputs": {"regex": "[a-f]{8}[a-f]*"},
            },
        )
    assert set(answer.choices[0].message.content or "?") <= set("abcdef")
