"""What was cancelled before it was picked up.

A cancel can overtake its task: then the task is still in the queue, and whoever picks it up must know that nobody waits
for it. A tombstone is kept until the task's deadline, when it is worthless anyway.
"""

from collections import OrderedDict
from collections.abc import Callable

MOST_TOMBSTONES = 100_000
KEEP_AFTER_DEADLINE_SECONDS = 5.0


class Tombstones:
    """A bounded set of request ids, each with a time to forget it.

    Args:
        clock: Unix seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._deadlines: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._deadlines)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._deadlines

    def add(self, request_id: str, deadline: float) -> None:
        """Remember a request until a little after its deadline; the oldest are forgotten first."""
        now = self._clock()
        while self._deadlines:
            _, oldest = next(iter(self._deadlines.items()))
            if len(self._deadlines) < MOST_TOMBSTONES and oldest + KEEP_AFTER_DEADLINE_SECONDS > now:
                break
            self._deadlines.popitem(last=False)
        self._deadlines[request_id] = deadline
