"""The processes that a test started, any of which may end while it is looked at."""

import time
from collections.abc import Iterable
from contextlib import suppress

import psutil


def tree(pid: int) -> list[psutil.Process]:
    """The process and everything below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def find(pids: Iterable[int]) -> list[psutil.Process]:
    """Those of the processes that are there."""
    found: list[psutil.Process] = []
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            found.append(psutil.Process(pid))
    return found


def survivors(processes: Iterable[psutil.Process], *, seconds: float) -> list[str]:
    """Names of those that still run after so long; the test waits no longer than it must."""
    remaining = list(processes)
    deadline = time.monotonic() + seconds
    while remaining and time.monotonic() < deadline:
        remaining = [process for process in remaining if _runs(process)]
        time.sleep(0.05)
    return [f"{process.pid} {_name(process)}" for process in remaining]


def listening(processes: Iterable[psutil.Process]) -> set[str]:
    """The addresses on which those that still run listen."""
    found: set[str] = set()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            found |= {
                connection.laddr.ip
                for connection in process.net_connections(kind="tcp")
                if connection.status == psutil.CONN_LISTEN
            }
    return found


def kill(processes: Iterable[psutil.Process]) -> None:
    """End what runs of these: one that goes with another is no fault."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


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
