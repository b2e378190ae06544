"""The official OpenAI client against the embedded server: scripted engine and real vLLM."""

import asyncio

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.support.serving import Serving, metric, wait_metric

MODEL = "smollm2-135m-instruct"
FRANCE: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(params=["client", pytest.param("vllm_client", marks=pytest.mark.engine)])
def any_client(request: pytest.FixtureRequest) -> openai.OpenAI:
    return request.getfixturevalue(request.param)


def test_a_whole_answer(any_client: openai.OpenAI) -> None:
    answer = any_client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, max_tokens=32)
    (choice,) = answer.choices
    assert choice.message.content == "The capital of France is Paris."
    assert choice.message.role == "assistant"
    assert choice.finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_with_usage(any_client: openai.OpenAI) -> None:
    chunks = list(
        any_client.chat.completions.create(
            model=MODEL,
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


def test_several_sequences(any_client: openai.OpenAI) -> None:
    answer = any_client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "count"}], n=3, max_tokens=8, temperature=1.0, seed=1
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert all(choice.message.content for choice in answer.choices)
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 24


def test_max_completion_tokens_ends_with_length(any_client: openai.OpenAI) -> None:
    answer = any_client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "count"}], max_completion_tokens=5
    )
    assert answer.usage is not None
    assert (answer.choices[0].finish_reason, answer.usage.completion_tokens) == ("length", 5)


def test_a_stop_text_ends_the_answer_and_is_not_part_of_it(any_client: openai.OpenAI) -> None:
    answer = any_client.chat.completions.create(model=MODEL, messages=FRANCE, temperature=0, stop=[" is", "zzz"])
    assert answer.choices[0].message.content == "The capital of France"
    assert answer.choices[0].finish_reason == "stop"


def test_a_seed_gives_the_same_answer_again(any_client: openai.OpenAI) -> None:
    def ask() -> str | None:
        answer = any_client.chat.completions.create(
            model=MODEL,
            messages=[{"role": "user", "content": "Tell me a story."}],
            seed=42,
            temperature=1.0,
            top_p=0.9,
            presence_penalty=0.5,
            frequency_penalty=0.5,
            max_tokens=12,
        )
        return answer.choices[0].message.content

    assert ask() == ask()


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nobody")


def test_an_unknown_model(any_client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        any_client.chat.completions.create(model="nobody", messages=FRANCE)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")


@pytest.mark.engine
def test_a_prompt_that_does_not_fit(vllm_client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        vllm_client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "word " * 5000}])
    assert caught.value.code == "context_length_exceeded"
    assert "2048" in caught.value.message


def test_no_messages(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=[])
    assert caught.value.param == "messages"


def test_an_engine_that_fails_before_the_first_token_is_a_status(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": "fail now"}])
    assert client.chat.completions.create(model=MODEL, messages=FRANCE).choices[0].finish_reason == "stop"


def test_an_engine_that_fails_later_is_an_error_event(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "fail later"}], stream=True
    )
    with pytest.raises(openai.APIError) as caught:
        list(stream)
    assert caught.value.code == "engine_error"


def test_a_client_that_leaves_frees_the_engine(client: openai.OpenAI, scripted: Serving) -> None:
    before = metric(scripted.address, "headrace_worker_generations_total", outcome="cancelled")
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": "for ever"}], stream=True
    )
    next(iter(stream))
    stream.close()
    wait_metric(scripted.address, "headrace_worker_generations_total", before + 1, outcome="cancelled")


async def test_64_streams_at_once(scripted: Serving) -> None:
    async with openai.AsyncOpenAI(base_url=f"{scripted.address}/v1", api_key="none", max_retries=0) as client:

        async def ask(number: int) -> str:
            stream = await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "count"}], stream=True, max_tokens=40, seed=number
            )
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        answers = await asyncio.gather(*(ask(number) for number in range(64)))
    assert {len(answer.split()) for answer in answers} == {40}


@pytest.mark.engine
async def test_64_streams_at_once_on_the_real_engine(vllm: Serving) -> None:
    async with openai.AsyncOpenAI(base_url=f"{vllm.address}/v1", api_key="none", max_retries=0) as client:

        async def ask(number: int) -> tuple[str, str | None]:
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": f"Say the number {number}."}],
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
    assert len({text for text, _ in answers}) > 16
