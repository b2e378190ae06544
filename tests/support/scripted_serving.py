"""Embedded servers with the scripted engine that answer anything, for suites that ask at random."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.serving import Serving, serving

CHAT_MODEL = "scripted-chat"
EMBEDDING_MODEL = "scripted-embedding"
CONFIG = f"""
[models.{CHAT_MODEL}]
weights = "tiny:random"
max_model_tokens = 256
slots = 64

[models.{EMBEDDING_MODEL}]
weights = "tiny:random"
task = "embed"
max_model_tokens = 256
slots = 64
"""
SHORT = """
step_seconds = 0.0

[[rules]]
text = "A short answer."
"""


@contextmanager
def scripted_serving(
    folder: Path, *, model: str = CHAT_MODEL, script: str = SHORT, environment: Mapping[str, str] | None = None
) -> Generator[Serving]:
    """Serve one of the two models until the block ends.

    Args:
        folder: of its own; the script and the configuration are written to it.
        model: the one that is run; the other is only listed.
        script: what the engine plays.
        environment: more settings.
    """
    (folder / "script.toml").write_text(script)
    (folder / "headrace.toml").write_text(CONFIG)
    settings = {"HEADRACE_ENGINE_SCRIPT": "script.toml", "HEADRACE_ENGINE_KIND": "scripted", **(environment or {})}
    with serving("--config", "headrace.toml", "--model", model, folder=folder, environment=settings) as server:
        yield server
