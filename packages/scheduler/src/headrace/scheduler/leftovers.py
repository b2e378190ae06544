"""Messages in our queues that stand for nobody: a copy of their task was taken first, or their request has ended.

They go when a worker picks them up, or at their request's deadline at the latest. The depth of a queue counts them, so
they are taken off what the others seem to have.
"""

import heapq
from collections.abc import Callable

from headrace.scheduler.line import Line


class Leftovers:
    """Bounded by the requests whose deadline has not passed.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._lines: dict[str, list[Line]] = {}
        self._deadlines: list[tuple[float, str]] = []

    def add(self, request_id: str, line: Line, *, deadline: float) -> None:
        """One more message of a request than it needs is in a line's queue; its deadline is in Unix seconds."""
        self.sweep()
        line.leftovers += 1
        if request_id not in self._lines:
            heapq.heappush(self._deadlines, (deadline, request_id))
            self._lines[request_id] = []
        self._lines[request_id].append(line)

    def take(self, request_id: str) -> None:
        """A worker has dropped a message of a request."""
        if lines := self._lines.get(request_id):
            _count_out(lines.pop(0))

    def sweep(self) -> None:
        """Forget those that are past their deadline; workers drop them without a word."""
        now = self._clock()
        while self._deadlines and self._deadlines[0][0] <= now:
            _, request_id = heapq.heappop(self._deadlines)
            for line in self._lines.pop(request_id):
                _count_out(line)


def _count_out(line: Line) -> None:
    # Fewer may be known already: the line sees how many there can be at most.
    line.leftovers = max(0, line.leftovers - 1)
