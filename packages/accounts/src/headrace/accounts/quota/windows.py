"""The last minute, counted so that no minute anywhere has more than the limit.

Amounts are kept by the five seconds in which they were taken, and count until the last of those seconds is a minute
ago. That costs up to five seconds of a minute, thirteen numbers, and no approximation: a log of every request would be
exact to the millisecond and would grow with the limit, and a fixed window would let twice the limit through at its
edge.
"""

WINDOW_SECONDS = 60
STEP_SECONDS = 5
STEPS = WINDOW_SECONDS // STEP_SECONDS + 1


def step_of(now: float) -> int:
    """Return the number of the five seconds that an instant is in."""
    return int(now // STEP_SECONDS)


class Window:
    """What was taken in the last minute."""

    def __init__(self) -> None:
        self._amounts: dict[int, int] = {}

    def total(self, now: float) -> int:
        """Return what counts now."""
        oldest = step_of(now) - STEPS + 1
        for step in [step for step in self._amounts if step < oldest]:
            del self._amounts[step]
        return sum(self._amounts.values())

    def add(self, amount: int, *, step: int, now: float) -> None:
        """Count an amount in a step; one that is over already does not count any more."""
        if step > step_of(now) - STEPS:
            self._amounts[step] = self._amounts.get(step, 0) + amount

    def seconds_until(self, room: int, *, now: float) -> float:
        """Return when at most `room` is taken."""
        total = self.total(now)
        for step in sorted(self._amounts):
            if total <= room:
                break
            total -= self._amounts[step]
            wait = (step + STEPS) * STEP_SECONDS - now
            if total <= room:
                return wait
        return 0.0

    def seconds_until_empty(self, now: float) -> float:
        """Return when nothing is taken, if nothing more is."""
        self.total(now)
        taken = [step for step, amount in self._amounts.items() if amount]
        return (max(taken) + STEPS) * STEP_SECONDS - now if taken else 0.0
