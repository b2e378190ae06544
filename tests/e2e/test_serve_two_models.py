"""`headrace serve` with two models in one process tree, and batch work beside interactive work."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import Serving, serving

CONFIG = """
[engine]
kind = "scripted"
[models.first]
weights = ""
slots = 1
[models.second]
weights = ""
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("two-models")
    (folder / "headrace.toml").write_text(CONFIG)
    with serving("--model", "first", "--model", "second", folder=folder) as server:
        yield server


def chat(server: Serving, model: str, *, lane: str | None = None, **scripted: object) -> httpx.Response:
    return httpx.post(
        f"{server.address}/v1/generations",
        json={
            "model": model,
            "messages": [{"role": "user", "content": "Hello"}],
            "generation_parameters": {"provider_extensions": {"scripted": scripted}},
        },
        headers={} if lane is None else {"Headrace-Lane": lane},
        timeout=30,
    )


def test_both_models_answer(server: Serving) -> None:
    assert "first on the scripted engine, second on the scripted engine" in server.text
    for model in ("first", "second"):
        answer = chat(server, model, text=f"I am {model}.")
        assert answer.json()["sequences"][0]["text"] == f"I am {model}."


def test_the_batch_lane_answers(server: Serving) -> None:
    assert chat(server, "first", lane="batch", text="Later.").json()["sequences"][0]["text"] == "Later."


def test_a_model_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text(CONFIG)
    with serving("--model", "first", "--model", "third", folder=tmp_path, ready=False) as server:
        assert server.wait() == 2
        assert "worker.models: no model 'third' in the settings; there is: first, second" in server.text
