"""Signals as something to look at between two steps: the first asks for an orderly stop, the second for a quick one."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """How often, and by which signal first, this process was asked to stop."""

    def __init__(self) -> None:
        self.count = 0
        self.first: signal.Signals | None = None
        self._asked = threading.Event()

    def ask(self, number: int) -> None:
        """Take note of a signal."""
        self.count += 1
        self.first = self.first or signal.Signals(number)
        self._asked.set()

    def wait(self, seconds: float) -> bool:
        """Sleep, but not beyond the first signal; tell whether there was one."""
        return self._asked.wait(seconds)

    @property
    def exit_code(self) -> int:
        """What a shell shows for a program that the first signal ended."""
        return 128 + (self.first or signal.SIGINT)


@contextmanager
def catch_stop_signals() -> Generator[StopRequest]:
    """Turn signals into a `StopRequest` for as long as the block runs."""
    request = StopRequest()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        request.ask(number)

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
