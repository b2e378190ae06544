"""LoRA adapters on the real engine: each answers under its own name, and the model under its own as before."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import pytest_asyncio

from headrace.models import write_tiny_model
from headrace.schema.messages import Message
from headrace.schema.request import BeamSearchParams, ChatCompletionRequest, GenerationParameters
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.worker.engines.base import Engine, EngineJob
from headrace.worker.engines.build import build_engine
from tests.contract.engines.jobs import WORKER, read
from tests.support.adapters import write_tiny_adapter

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def made_engine(weights: Path) -> Engine:
    """Made outside of the event loop, as in production."""
    adapters = {f"tiny-{seed}": str(write_tiny_adapter(weights / f"a{seed}", seed=seed)) for seed in (1, 2)}
    return build_engine(
        ModelSettings(
            weights="tiny:random", slots=4, max_model_tokens=256, kv_cache_bytes=64 * 2**20, adapters=adapters
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


def job_of(model: str, *, number: int = 0, beams: BeamSearchParams | None = None) -> EngineJob:
    return EngineJob(
        request_id=f"{model}-{number}",
        worker_id=WORKER,
        priority=5,
        request=ChatCompletionRequest(
            model=model,
            messages=(Message("user", "Where does the water run?"),),
            generation_parameters=GenerationParameters(temperature=0.0, max_tokens=16, beam_search=beams),
        ),
    )


async def test_each_name_has_its_own_answer_and_the_model_keeps_its_own(engine: Engine) -> None:
    names = ["tiny", "tiny-1", "tiny-2"]
    alone = [(await read(engine, job_of(name))).text for name in names]
    assert len(set(alone)) == 3
    together = await asyncio.gather(*(read(engine, job_of(name, number=i)) for name in names for i in range(2)))
    assert [answer.text for answer in together] == [text for text in alone for _ in range(2)]


async def test_a_beam_search_takes_the_adapter_too(engine: Engine) -> None:
    beams = BeamSearchParams(width=3)
    answers = [(await read(engine, job_of(name, beams=beams))).text for name in ("tiny", "tiny-1")]
    assert answers[0] != answers[1]
