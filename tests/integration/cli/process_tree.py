"""What still runs of the processes that a test started."""

import time
from collections.abc import Iterable

import psutil


def tree(pid: int) -> list[psutil.Process]:
    """The process and everything below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def survivors(processes: Iterable[psutil.Process], *, seconds: float) -> list[str]:
    """Names of those that still run after so long; the test waits no longer than it must."""
    remaining = list(processes)
    deadline = time.monotonic() + seconds
    while remaining and time.monotonic() < deadline:
        remaining = [process for process in remaining if _runs(process)]
        time.sleep(0.05)
    return [f"{process.pid} {_name(process)}" for process in remaining]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return "?"
