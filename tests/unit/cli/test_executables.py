"""Which RabbitMQ is taken where a machine has more than one."""

from pathlib import Path

import pytest

from headrace.apps.cli.nodes import find_services
from headrace.apps.cli.nodes.executables import Service


def install(folder: Path, version: str | None) -> Path:
    """Put a server there, as an unpacked archive has it; without a version a wrapper, with no plugins beside it."""
    program = folder / "sbin" / "rabbitmq-server"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    if version is not None:
        (folder / "plugins" / f"rabbit-{version}").mkdir(parents=True)
    return program


@pytest.fixture
def packaged(tmp_path: Path) -> Path:
    return install(tmp_path / "packaged", "3.10.8")


def found_with(on_path: Path, packaged: Path, monkeypatch: pytest.MonkeyPatch) -> Service | None:
    monkeypatch.setenv("PATH", str(on_path.parent))
    return find_services([str(packaged.parent)]).rabbitmq


def test_one_on_path_comes_before_the_package(tmp_path: Path, packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = install(tmp_path / "chosen", "4.3.6")
    assert found_with(program, packaged, monkeypatch) == Service(str(program), "4.3.6")


def test_a_wrapper_on_path_does_not(tmp_path: Path, packaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = install(tmp_path / "wrapper", None)
    assert found_with(wrapper, packaged, monkeypatch) == Service(str(packaged), "3.10.8")


def test_a_wrapper_is_better_than_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = install(tmp_path / "wrapper", None)
    assert found_with(wrapper, tmp_path / "none" / "sbin" / "rabbitmq-server", monkeypatch) == Service(
        str(wrapper), "unknown"
    )
