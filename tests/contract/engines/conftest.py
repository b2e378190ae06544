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


def _make_vllm(settings: ModelSettings, weights: Path) -> Engine:
    engine = EngineSettings(kind="vllm", cpu_threads=1)
    return build_engine(settings, name="tiny", engine=engine, weights=weights, script_text=None)


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from headrace.models import write_tiny_model

    return write_tiny_model(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="session")
def made_vllm_engine(tiny_weights: Path) -> Engine:
    """Made outside of the event loop, as in production."""
    return _make_vllm(_settings(), tiny_weights)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def vllm_engine(made_vllm_engine: Engine) -> AsyncGenerator[Engine, None]:
    await made_vllm_engine.start()
    yield made_vllm_engine
    await made_vllm_engine.close()


@pytest.fixture(scope="session")
def made_drafting_engine(tiny_weights: Path) -> Engine:
    drafts = {"method": "ngram", "num_speculative_tokens": 2, "prompt_lookup_max": 3}
    return _make_vllm(_settings(slots=1, speculative_config=drafts), tiny_weights)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def drafting_engine(made_drafting_engine: Engine) -> AsyncGenerator[Engine, None]:
    """One slot, and no replay: what it has told can't be told again."""
    await made_drafting_engine.start()
    yield made_drafting_engine
    await made_drafting_engine.close()


@pytest.fixture(scope="session")
def made_small_engine(tiny_weights: Path) -> Engine:
    # Blocks of 32 tokens, and one that vLLM keeps for itself.
    return _make_vllm(_settings(num_gpu_blocks_override=MAX_MODEL_TOKENS // 32 + 1), tiny_weights)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def small_engine(made_small_engine: Engine) -> AsyncGenerator[Engine, None]:
    """Slots enough, and a KV cache that holds one long answer."""
    await made_small_engine.start()
    yield made_small_engine
    await made_small_engine.close()


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
