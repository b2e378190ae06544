"""No request starves: one that waits for long goes up, step by step, whatever comes after it.

Decided purely, from how long it has waited. A step is a copy of its task, published higher; see `copies`.
"""

from msgspec import Struct

from headrace.schema.names import Lane
from headrace.schema.task import MAX_PRIORITY

STEP = 3
# Clocks differ a little, and a pickup takes a moment to be known: no copy is made while one may run unasked.
LEAST_MARGIN_SHARE = 0.25
MOST_MARGIN_SECONDS = 2.0


class Standing(Struct, frozen=True):
    """What a request deserves.

    Attributes:
        lane: through which queue.
        priority: at which priority.
        steps: how many steps it has gone up.
        next_seconds: after how long a wait it goes up again; None for never.
    """

    lane: Lane
    priority: int
    steps: int
    next_seconds: float | None


class AgeingPolicy(Struct, frozen=True):
    """When it goes up.

    Attributes:
        online_seconds: after so long a request of the online lane goes up, and after as long again.
        batch_seconds: after so long a request of the batch lane goes over to the online lane.
    """

    online_seconds: float
    batch_seconds: float

    def stand(self, lane: Lane, priority: int, waited_seconds: float) -> Standing:
        """Return where a request stands that came with a lane and a priority and has waited for so long."""
        base = 0.0
        if lane == "batch":
            if waited_seconds < self.batch_seconds:
                return Standing(lane, priority, 0, self.batch_seconds)
            base, priority = self.batch_seconds, 0
        wanted = -(-(MAX_PRIORITY - priority) // STEP)
        climbed = min(wanted, int((waited_seconds - base) / self.online_seconds))
        next_seconds = base + (climbed + 1) * self.online_seconds if climbed < wanted else None
        steps = climbed + (lane == "batch")
        return Standing("online", min(MAX_PRIORITY, priority + climbed * STEP), steps, next_seconds)

    def ask_after(self, lane: Lane, priority: int) -> float | None:
        """Return after how long a wait whoever picks a task up has to ask first; None where it is never copied."""
        first = self.stand(lane, priority, 0.0).next_seconds
        return None if first is None else first - min(MOST_MARGIN_SECONDS, first * LEAST_MARGIN_SHARE)
