"""How a job is held where it stands, and goes on later.

What can't be told again from its start, or only by doing all of it once more, is not taken out of the engine for
another job: it stays, and does nothing. One side says so, the engine that runs the job follows. On the event loop.
"""

from collections.abc import Callable


class Suspension:
    """Whether one job is held.

    Attributes:
        is_on: it takes no slot of the engine, asks for no step, and so holds nothing of the KV cache.
    """

    __slots__ = ("_tell", "is_on")

    def __init__(self) -> None:
        self.is_on = False
        self._tell: Callable[[], None] | None = None

    def begin(self) -> None:
        """Hold the job. What its step under way brings is still told."""
        self._change(value=True)

    def end(self) -> None:
        """Let the job go on."""
        self._change(value=False)

    def follow(self, tell: Callable[[], None]) -> None:
        """Call `tell` whenever the job is held or goes on; whoever follows last is told."""
        self._tell = tell

    def _change(self, *, value: bool) -> None:
        if self.is_on != value:
            self.is_on = value
            if self._tell is not None:
                self._tell()
