"""The process that tries grammars out: one that waits, and forks another for each trial.

It is forked from the worker while that has no threads, so it takes next to no memory and no time to start. A grammar
that was tried is remembered, whatever came of it.
"""

import asyncio
import multiprocessing
import os
import resource
import select
import signal
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import structlog

from headrace.worker.engines.vllm.grammar.constraint import Constraint
from headrace.worker.engines.vllm.trial.walk import Compile, try_constraint

_log = structlog.get_logger("headrace.engine")

TRIAL_SECONDS = 30.0
TRIAL_CPU_SECONDS = 10
TRIAL_MEMORY_BYTES = 2 * 1024**3
TURN_SECONDS = 20.0
REMEMBERED = 512

_LOAD_SECONDS = 60.0
# It gets ready for its first grammar when the engine's own start is over.
_IDLE_SECONDS = 15.0
_REASON_BYTES = 4096

_TOO_LONG = "it takes too long to compile"
_TOO_MUCH = "it takes too much time or memory to compile"


class ExaminerBusyError(Exception):
    """Too many grammars wait to be tried."""


class ExaminerGoneError(Exception):
    """The process has ended."""


class Examiner:
    """Tries constraints out.

    Make it on the main thread, before there are others.

    Args:
        make_compile: called in the process, once; returns what compiles a constraint.
        cpu_seconds: how long a trial may compute.
    """

    def __init__(self, make_compile: Callable[[], Compile], *, cpu_seconds: int = TRIAL_CPU_SECONDS) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, make_compile, cpu_seconds), name="examiner", daemon=True
        )
        self._process.start()
        theirs.close()
        self._turn = threading.Lock()
        self._known: OrderedDict[Constraint, str] = OrderedDict()

    async def examine(self, constraint: Constraint) -> str:
        """Return why a constraint can't be used, or nothing.

        Raises:
            ExaminerBusyError: others were before it for too long.
            ExaminerGoneError: the process has ended.
        """
        if (reason := self._known.get(constraint)) is not None:
            self._known.move_to_end(constraint)
            return reason
        reason = await asyncio.to_thread(self._ask, constraint)
        self._known[constraint] = reason
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return reason

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _ask(self, constraint: Constraint) -> str:
        if not self._turn.acquire(timeout=TURN_SECONDS):
            raise ExaminerBusyError
        try:
            self._pipe.send((constraint.kind, constraint.text))
            if not self._pipe.poll(_LOAD_SECONDS + TRIAL_SECONDS):
                raise ExaminerGoneError
            return str(self._pipe.recv())
        except (OSError, EOFError) as error:
            raise ExaminerGoneError from error
        finally:
            self._turn.release()


def _serve(pipe: Connection, make_compile: Callable[[], Compile], cpu_seconds: int) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe.poll(_IDLE_SECONDS)
    compile_constraint = make_compile()
    while True:
        try:
            kind, text = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(_try_apart(Constraint(kind, text), compile_constraint, cpu_seconds))


def _try_apart(constraint: Constraint, compile_constraint: Compile, cpu_seconds: int) -> str:
    """Try a constraint in a process that can be killed, and that may crash."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
        _report(write_end, constraint, compile_constraint)
    os.close(write_end)
    try:
        reason = _read_reason(read_end, until=time.monotonic() + TRIAL_SECONDS)
    finally:
        os.close(read_end)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return reason


def _report(write_end: int, constraint: Constraint, compile_constraint: Compile) -> None:
    memory = _memory_bytes() + TRIAL_MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    try:
        # The end of the text is a sign of its own: without it, the process died on its way.
        os.write(write_end, f"{try_constraint(constraint, compile_constraint)}\n".encode()[-_REASON_BYTES:])
    finally:
        os._exit(0)


def _memory_bytes() -> int:
    if sys.platform != "linux":
        return resource.RLIM_INFINITY - TRIAL_MEMORY_BYTES
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _read_reason(read_end: int, *, until: float) -> str:
    ready, _, _ = select.select([read_end], [], [], max(0.0, until - time.monotonic()))
    if not ready:
        return _TOO_LONG
    reason = os.read(read_end, _REASON_BYTES).decode(errors="replace")
    return reason[:-1] if reason.endswith("\n") else _TOO_MUCH
