"""Messages in our queues that stand for nobody any more, because a copy of their task was taken first.

They go when a worker picks them up and asks, or at their request's deadline at the latest. The depth of a queue counts
them, so they are taken off what the others seem to have.
"""

from headrace.scheduler.line import Line


class Leftovers:
    """Bounded by the copies that were made of requests whose deadline has not passed."""

    def __init__(self) -> None:
        self._lines: dict[str, list[Line]] = {}
        self._deadlines: dict[str, float] = {}

    def add(self, request_id: str, line: Line, *, deadline: float) -> None:
        """One more message of a request than it needs is in a line's queue; its deadline is in Unix seconds."""
        line.leftovers += 1
        self._lines.setdefault(request_id, []).append(line)
        self._deadlines[request_id] = deadline

    def take(self, request_id: str) -> None:
        """A worker has dropped a message of a request."""
        lines = self._lines.get(request_id)
        if lines:
            lines.pop(0).leftovers -= 1
            if not lines:
                self._forget(request_id)

    def sweep(self, now: float) -> None:
        """Forget those that are past their deadline; workers drop them without a word. Unix seconds."""
        for request_id in [known for known, deadline in self._deadlines.items() if deadline <= now]:
            for line in self._lines[request_id]:
                line.leftovers -= 1
            self._forget(request_id)

    def _forget(self, request_id: str) -> None:
        del self._lines[request_id], self._deadlines[request_id]
