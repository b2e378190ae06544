"""What becomes of the engine's processes when ours ends or is interrupted.

The engine runs in a process of its own that we do not start ourselves: vLLM forks it. Two things must hold for it that
vLLM does not see to. It must die with us however we die, or a killed worker would leave a model in memory. And Ctrl-C
in a terminal, which reaches every process of the group, must not reach it: a drain needs an engine to finish on.
"""

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager

_PR_SET_PDEATHSIG = 1


class _Guard:
    """A hook at fork can't be taken back, so it looks here whether it is wanted."""

    parent: int | None = None
    is_registered = False


@contextmanager
def guard_children() -> Generator[None]:
    """Within this, a forked child leaves our process group, and on Linux it is killed when our thread ends.

    A child keeps the guard for its own children.

    Raises:
        RuntimeError: not on the main thread, whose end is the end of the process: it is the end of the thread that
            forked which kills the child.
    """
    if threading.current_thread() is not threading.main_thread():
        raise RuntimeError("an engine must be made on the main thread, or it dies with the thread that made it")
    if not _Guard.is_registered:
        os.register_at_fork(after_in_child=_guard_this_child)
        _Guard.is_registered = True
    _Guard.parent = os.getpid()
    try:
        yield
    finally:
        _Guard.parent = None


def _guard_this_child() -> None:
    if _Guard.parent is None:
        return
    os.setpgid(0, 0)
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        # We may have died between the fork and this line; then nobody would send the signal any more.
        if os.getppid() != _Guard.parent:
            os.kill(os.getpid(), signal.SIGKILL)
    _Guard.parent = os.getpid()
