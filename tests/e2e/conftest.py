"""Servers that the end-to-end tests share."""

from collections.abc import Generator

import pytest

from tests.support.serving import Serving, serving

SCRIPT = """
step_seconds = 0.002

[[rules]]
when = "capital of France"
text = "The capital of France is Paris."

[[rules]]
when = "count"
tokens = 200

[[rules]]
when = "for ever"
tokens = 10000000

[[rules]]
when = "fail now"
fault = "error"

[[rules]]
when = "fail later"
tokens = 100
fault = "error"
fault_after_tokens = 5
"""


@pytest.fixture(scope="session")
def scripted(tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving]:
    """The embedded server with the scripted engine."""
    folder = tmp_path_factory.mktemp("scripted")
    (folder / "script.toml").write_text(SCRIPT)
    environment = {
        "HEADRACE_ENGINE_SCRIPT": "script.toml",
        "HEADRACE_MODELS_SMOLLM2_135M_INSTRUCT_MAX_MODEL_TOKENS": "20000000",
        "HEADRACE_MODELS_SMOLLM2_135M_INSTRUCT_SLOTS": "64",
    }
    with serving("--engine", "scripted", folder=folder, environment=environment) as server:
        yield server
