"""Ctrl-C while a model loads.

vLLM waits for its process in a call of pyzmq that loses what a signal handler raises, so KeyboardInterrupt would vanish
and the wait, which may be minutes, would go on. Killing the process that is waited for ends the wait, and then the
handler's exception is raised for good.
"""

import multiprocessing
import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

from headrace.worker.engines.base import EngineSetupError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible_start() -> Generator[None]:
    """Within this, a signal that has a Python handler kills the processes started here, and reaches its handler after.

    Use it on the main thread.

    Raises:
        EngineSetupError: a signal came, and its handler raised nothing.
    """
    others = set(multiprocessing.active_children())
    handlers = {number: handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        started = set(multiprocessing.active_children()) - others
        if not started:
            handlers[signal.Signals(number)](number, frame)
            return
        received.append(number)
        for process in started:
            process.kill()

    for number in handlers:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if received:
            handlers[signal.Signals(received[0])](received[0], None)
            raise EngineSetupError("the start of the engine was interrupted")
