"""Embeddings on the real engine: vLLM's pooling runner on the tiny model."""

import asyncio
import math
from array import array
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
import pytest_asyncio

from headrace.models import write_tiny_model
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event, GenerationFinished, GenerationStarted, PromptEmbedded, Usage
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, EmbeddingParams, GenerationParameters, Prompt
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.worker.engines.base import Engine, EngineJob
from headrace.worker.engines.build import build_engine

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

MAX_MODEL_TOKENS = 128
DIMENSIONS = 128


@pytest.fixture(scope="module")
def made_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """Made outside of the event loop, as in production."""
    weights = write_tiny_model(tmp_path_factory.mktemp("weights") / "tiny")
    return build_engine(
        ModelSettings(
            weights="tiny:random",
            task="embed",
            slots=4,
            max_model_tokens=MAX_MODEL_TOKENS,
            kv_cache_bytes=64 * 2**20,
            engine_options={"dtype": "float32"},
        ),
        name="tiny",
        engine=EngineSettings(kind="vllm", cpu_threads=1),
        weights=weights,
        script_text=None,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(made_engine: Engine) -> AsyncGenerator[Engine, None]:
    await made_engine.start()
    yield made_engine
    await made_engine.close()


def job_of(*prompts: Prompt, request_id: str = "embed", dimensions: int | None = None, **request: Any) -> EngineJob:
    request.setdefault("embedding", EmbeddingParams(dimensions=dimensions))
    return EngineJob(
        request_id=request_id,
        worker_id="w",
        priority=5,
        request=ChatCompletionRequest(model="tiny", prompts=prompts, **request),
    )


async def embed(engine: Engine, job: EngineJob) -> tuple[list[list[float]], Usage]:
    """The vectors of a job, checked for order."""
    async with aclosing(engine.generate(job)) as steps:
        events: list[Event] = [event async for step in steps for event in step]
    first, *embedded, last = events
    assert isinstance(first, GenerationStarted)
    assert isinstance(last, GenerationFinished)
    vectors: list[list[float]] = []
    for index, event in enumerate(embedded):
        assert isinstance(event, PromptEmbedded)
        assert event.index == index
        vectors.append(list(array("f", event.vector)))
    assert first.input_tokens == last.usage.input_tokens
    return vectors, last.usage


def close(left: list[float], right: list[float]) -> bool:
    return all(math.isclose(a, b, abs_tol=1e-4) for a, b in zip(left, right, strict=True))


async def test_a_vector_has_the_length_of_the_model_and_is_normalised(engine: Engine) -> None:
    (vector,), usage = await embed(engine, job_of("the river runs"))
    assert len(vector) == DIMENSIONS
    assert math.fsum(value * value for value in vector) == pytest.approx(1.0, abs=1e-4)
    assert usage.output_tokens == 0


async def test_many_prompts_give_what_each_gives_alone(engine: Engine) -> None:
    texts = [f"stone {number} in the {'deep ' * number}water" for number in range(11)]
    together, usage = await embed(engine, job_of(*texts))
    alone = [await embed(engine, job_of(text)) for text in texts]
    assert all(close(vector, vectors[0]) for vector, (vectors, _) in zip(together, alone, strict=True))
    assert usage.input_tokens == sum(each.input_tokens for _, each in alone)


async def test_equal_texts_have_equal_vectors_and_others_have_others(engine: Engine) -> None:
    (first, other, again), _ = await embed(engine, job_of("slow lake", "fast stream", "slow lake"))
    assert close(first, again)
    assert not close(first, other)


async def test_tokens_are_as_good_as_their_text(engine: Engine) -> None:
    inside: Any = engine
    ((tokens,),) = [await inside._library.tokenize(["cold rain"])]
    vectors, _ = await embed(engine, job_of("cold rain", tuple(tokens)))
    assert close(*vectors)


async def test_jobs_run_beside_each_other(engine: Engine) -> None:
    jobs = [job_of("wind", "rain", request_id=f"beside-{number}") for number in range(12)]
    answers = await asyncio.gather(*(embed(engine, job) for job in jobs))
    assert all(close(vectors[1], answers[0][0][1]) for vectors, _ in answers)


async def test_counting_makes_no_vectors(engine: Engine) -> None:
    vectors, usage = await embed(engine, job_of("the river runs", count_only=True))
    assert vectors == []
    assert usage.input_tokens > 0


async def refused(engine: Engine, job: EngineJob) -> HeadraceError:
    with pytest.raises(HeadraceError) as caught:
        await anext(engine.generate(job))
    return caught.value


async def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(engine: Engine) -> None:
    error = await refused(engine, job_of("short", "secret " * MAX_MODEL_TOKENS))
    assert (error.code, error.param) == (ErrorCode.CONTEXT_LENGTH_EXCEEDED, "prompts[1]")
    assert f"takes at most {MAX_MODEL_TOKENS}" in error.message
    assert "secret" not in error.message
    longest = tuple([300] * MAX_MODEL_TOKENS)
    assert (await embed(engine, job_of(longest)))[1].input_tokens == MAX_MODEL_TOKENS
    error = await refused(engine, job_of((*longest, 300)))
    assert f"has {MAX_MODEL_TOKENS + 1} tokens" in error.message


async def test_a_token_that_the_model_does_not_know_is_refused(engine: Engine) -> None:
    error = await refused(engine, job_of((5, 99999)))
    assert (error.code, error.param) == (ErrorCode.INVALID_REQUEST, "prompts[0]")


async def test_other_dimensions_are_refused_where_the_model_can_not_shorten(engine: Engine) -> None:
    error = await refused(engine, job_of("rain", dimensions=64))
    assert (error.code, error.param) == (ErrorCode.UNSUPPORTED_PARAMETER, "embedding.dimensions")
    assert len((await embed(engine, job_of("rain", dimensions=DIMENSIONS)))[0][0]) == DIMENSIONS


async def test_a_chat_is_refused(engine: Engine) -> None:
    job = EngineJob(
        request_id="chat",
        worker_id="w",
        priority=5,
        request=ChatCompletionRequest(model="tiny", messages=(Message("user", "Hello"),)),
    )
    error = await refused(engine, job)
    assert (error.code, error.param) == (ErrorCode.INVALID_REQUEST, "model")


async def test_an_extension_is_refused_by_name(engine: Engine) -> None:
    parameters = GenerationParameters(provider_extensions={"vllm": {"min_tokens": 1}})
    error = await refused(engine, job_of("rain", generation_parameters=parameters))
    assert error.param == "generation_parameters.provider_extensions.vllm.min_tokens"


async def test_a_job_that_is_left_leaves_nothing_in_the_engine(engine: Engine) -> None:
    for number in range(3):
        steps = engine.generate(job_of(*["long stone " * 20] * 8, request_id=f"left-{number}"))
        await anext(steps)
        await anext(steps)
        await steps.aclose()
    inside: Any = engine
    assert not inside._library._llm.output_processor.has_unfinished_requests()
    assert await inside._library._llm.reset_prefix_cache()
    assert inside._life.queues == set()
