"""One engine of each kind for the whole contract: a real one takes seconds to start."""

from collections.abc import AsyncGenerator
from pathlib import Path

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


def _settings() -> ModelSettings:
    return ModelSettings(
        weights="tiny:random", slots=SLOTS, max_model_tokens=MAX_MODEL_TOKENS, kv_cache_bytes=64 * 2**20
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
