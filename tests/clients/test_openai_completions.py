"""The official OpenAI client's completions and embeddings."""

import math

import openai
import pytest

from tests.clients.target import Target

pytestmark = pytest.mark.timeout(180)


def test_a_whole_completion(client: openai.OpenAI, target: Target) -> None:
    answer = client.completions.create(
        model=target.model, prompt="The capital of France", max_tokens=8, temperature=0, stop="\n"
    )
    (choice,) = answer.choices
    assert choice.text
    assert choice.finish_reason in {"stop", "length"}
    assert answer.usage is not None
    assert answer.usage.completion_tokens <= 8


def test_a_streamed_completion(client: openai.OpenAI, target: Target) -> None:
    prompt = "The capital of France"
    whole = client.completions.create(model=target.model, prompt=prompt, max_tokens=8, temperature=0)
    chunks = list(
        client.completions.create(model=target.model, prompt=prompt, max_tokens=8, temperature=0, stream=True)
    )
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == whole.choices[0].finish_reason


def test_several_prompts_with_several_sequences(client: openai.OpenAI, target: Target) -> None:
    answer = client.completions.create(
        model=target.model, prompt=["One", "Two"], n=2, best_of=3, max_tokens=4, temperature=1.0, seed=1
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]


def test_token_ids_as_the_prompt(client: openai.OpenAI, target: Target) -> None:
    answer = client.completions.create(model=target.model, prompt=[5, 6, 7], max_tokens=4, temperature=0)
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == 3


def test_echo_with_logprobs(client: openai.OpenAI, target: Target) -> None:
    answer = client.completions.create(
        model=target.model, prompt="The capital of France", echo=True, logprobs=2, max_tokens=4, temperature=0
    )
    (choice,) = answer.choices
    assert choice.text.startswith("The capital of France")
    logprobs = choice.logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert logprobs.token_logprobs is not None
    assert logprobs.text_offset is not None
    assert logprobs.token_logprobs[0] is None
    assert all(number is not None and number <= 0 for number in logprobs.token_logprobs[1:])
    assert len(logprobs.tokens) == len(logprobs.token_logprobs) == len(logprobs.text_offset)


def test_the_likelihood_of_a_text(client: openai.OpenAI, target: Target) -> None:
    """What evaluation harnesses do: the text itself is scored, and nothing is added to it."""
    answer = client.completions.create(
        model=target.model, prompt="The capital of France", echo=True, logprobs=1, max_tokens=0
    )
    assert answer.choices[0].text == "The capital of France"


def test_embeddings(embedding_target: Target) -> None:
    with embedding_target.open_openai() as client:
        # The client asks for base64 and decodes it, unless it is told to ask for numbers.
        packed = client.embeddings.create(model=embedding_target.model, input=["Hello", "world"])
        plain = client.embeddings.create(
            model=embedding_target.model, input=["Hello", "world"], encoding_format="float"
        )
    assert [item.index for item in packed.data] == [0, 1]
    for one, other in zip(packed.data, plain.data, strict=True):
        assert one.embedding == pytest.approx(other.embedding)
        assert math.hypot(*one.embedding) == pytest.approx(1.0, rel=1e-3)
    assert packed.usage.prompt_tokens == packed.usage.total_tokens > 0


async def test_embeddings_of_the_async_client(embedding_target: Target) -> None:
    async with embedding_target.open_async_openai() as client:
        answer = await client.embeddings.create(model=embedding_target.model, input=[[5, 6, 7]])
    assert answer.usage.prompt_tokens == 3


def test_shorter_embeddings(scripted_embedding: Target) -> None:
    with scripted_embedding.open_openai() as client:
        short = client.embeddings.create(model=scripted_embedding.model, input="Hello", dimensions=8)
    assert len(short.data[0].embedding) == 8


def test_a_model_that_chats_makes_no_embeddings(client: openai.OpenAI, target: Target) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=target.model, input="Hello")
    assert caught.value.param == "model"
