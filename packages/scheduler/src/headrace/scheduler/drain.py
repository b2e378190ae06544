"""How fast a line moves: how many of ours workers take off a queue in a second, while some of ours wait.

Only time in which somebody waits tells anything about the workers; the rest tells how much was asked of them. What
fills free slots at once tells nothing either, so a line is measured from a moment after its first pickup. Time is
passed in: the loop's, in seconds.
"""

from collections import deque

WINDOW_SECONDS = 20.0
FEWEST_PICKUPS = 4
MOST_PICKUPS = 1024
SETTLE_SECONDS = 1.0
LEAST_SECONDS = 1.0
# What was known longer ago may have been known of other workers.
FORGET_SECONDS = 600.0


class DrainRate:
    """An estimate over the newest pickups: those of a window of busy time, or a few where pickups are rare."""

    def __init__(self) -> None:
        self._pickups: deque[float] = deque(maxlen=MOST_PICKUPS)
        self._window_began = 0.0
        self._busy_seconds = 0.0
        self._is_busy = False
        self._counts_from: float | None = None
        self._last_pickup: float | None = None

    def begin_wait(self, now: float) -> None:
        """Somebody waits from now on."""
        if self._last_pickup is not None and now - self._last_pickup > FORGET_SECONDS:
            self.reset()
        self._is_busy = True

    def end_wait(self, now: float) -> None:
        """Nobody waits any more."""
        self._busy_seconds = self._busy_until(now)
        self._is_busy = False
        self._counts_from = None

    def note_pickup(self, now: float) -> None:
        """A worker took one of those that wait."""
        self._last_pickup = now
        if self._counts_from is None:
            self._counts_from = now + SETTLE_SECONDS
        elif now > self._counts_from:
            if len(self._pickups) == MOST_PICKUPS:
                self._window_began = self._pickups[0]
            self._pickups.append(self._busy_until(now))

    def per_second(self, now: float) -> float | None:
        """Return pickups a second; None while nothing is known."""
        busy = self._busy_until(now)
        while len(self._pickups) > FEWEST_PICKUPS and self._pickups[0] < busy - WINDOW_SECONDS:
            self._window_began = self._pickups.popleft()
        seconds = busy - self._window_began
        # Workers take several at once, so a few pickups in a short time say little.
        if len(self._pickups) < FEWEST_PICKUPS or seconds < LEAST_SECONDS:
            return None
        return len(self._pickups) / seconds

    def reset(self) -> None:
        """Forget everything: the workers are others now, or there are none."""
        self._pickups.clear()
        self._window_began = self._busy_seconds = 0.0
        self._counts_from = None
        self._last_pickup = None

    def _busy_until(self, now: float) -> float:
        if not self._is_busy or self._counts_from is None:
            return self._busy_seconds
        return self._busy_seconds + max(0.0, now - self._counts_from)
