"""One engine of each kind for the whole contract: a real one takes seconds to start."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.worker.engines.base import Engine
from headrace.worker.engines.build import build_engine

SLOTS = 4
MAX_MODEL_TOKENS = 512
# An endless talker, as the tiny model is: both say something else for another seed.
SCRIPT = """
step_seconds = 0.001
kv_tokens = 100000
[[rules]]
tokens = 1000000
"""


def _settings(*, slots: int = SLOTS, **options: Any) -> ModelSettings:
    return ModelSettings(
        weights="tiny:random",
        slots=slots,
        max_model_tokens=MAX_MODEL_TOKENS,
        kv_cache_bytes=64 * 2**20,
        engine_options=options,
    )


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from headrace.models import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="session")
def made_vllm_engine(tiny_weights: Path) -> Engine:
    """Made outside of the event loop, as in production."""
    return build_engine(
        _settings(),
        name="tiny",
        engine=EngineSettings(kind="vllm", cpu_threads=1),
        weights=tiny_weights,
        script_text=None,
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine(made_vllm_engine: Engine) -> AsyncGenerator[Engine, None]:
    await made_vllm_engine.start()
    yield made_vllm_engine
    await made_vllm_engine.close()


@pytest.fixture(scope="session")
def made_drafting_engine(tiny_weights: Path) -> Engine:
    drafts = {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 3}
    return build_engine(
        _settings(slots=1, speculative_config=drafts),
        name="tiny",
        engine=EngineSettings(kind="vllm", cpu_threads=1),
        weights=tiny_weights,
        script_text=None,
    )


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def drafting_engine(made_drafting_engine: Engine) -> AsyncGenerator[Engine, None]:
    """One slot, and no replay: what it has told can't be told again."""
    await made_drafting_engine.start()
    yield made_drafting_engine
    await made_drafting_engine.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def scripted_engine() -> AsyncGenerator[Engine, None]:
    engine = build_engine(
        _settings(), name="scripted", engine=EngineSettings(kind="scripted"), weights=None, script_text=SCRIPT
    )
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture(params=["scripted", pytest.param("vllm", marks=pytest.mark.engine)])
def engine(request: pytest.FixtureRequest) -> Engine:
    name: str = request.param
    engine: Engine = request.getfixturevalue(f"{name}_engine")
    return engine
