"""Two models in one process, each on an engine of its own."""

import asyncio
from pathlib import Path

import pytest

from headrace.models import write_tiny_model
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.worker.engines.base import EngineSetupError
from headrace.worker.engines.build import build_engines
from tests.contract.engines.jobs import make_job, read

pytestmark = [
    pytest.mark.engine,
    pytest.mark.timeout(180),
    # vLLM's own imports, also in the processes that it forks.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


def test_two_models_answer_at_once_and_both_end(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    models = {
        name: ModelSettings(weights="tiny:random", slots=2, max_model_tokens=256, kv_cache_bytes=32 * 2**20)
        for name in ("one", "two")
    }
    # Made outside of an event loop, as in production.
    engines = build_engines(
        models,
        engine=EngineSettings(kind="vllm", cpu_threads=1),
        weights=dict.fromkeys(models, folder),
        script_text=None,
    )

    async def use() -> list[str]:
        for engine in engines.values():
            await engine.start()
        jobs = [(engine, make_job(name, temperature=0.0, max_tokens=20)) for name, engine in engines.items()]
        answers = await asyncio.gather(*(read(engine, job) for engine, job in jobs))
        for engine in engines.values():
            await engine.close()
        return [answer.text for answer in answers]

    one, two = asyncio.run(use())
    assert one == two != ""


def test_models_that_do_not_fit_together_are_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "tiny")
    models = {name: ModelSettings(weights="tiny:random", kv_cache_bytes=2**50) for name in ("one", "two")}
    with pytest.raises(EngineSetupError, match=r"models\.two\.kv_cache_bytes"):
        build_engines(
            models, engine=EngineSettings(kind="vllm"), weights=dict.fromkeys(models, folder), script_text=None
        )
