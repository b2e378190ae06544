"""When a target at a provider is set aside, and when it is tried again. Time, in seconds, is passed in.

Closed, calls pass and are counted in a sliding window; when enough of them failed, it opens. Open, none pass until its
time is over. Then it is half open: one call is let through as a probe, and closes it or opens it again, for twice as
long. Only what shows that the upstream is ill counts as a failure: what it thinks of a request does not.
"""

from enum import StrEnum
from typing import Self

from msgspec import Struct

from headrace.schema.settings import RoutingSettings

MOST_OPEN_SECONDS = 300.0
_SLICES = 10


class BreakerState(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class BreakerRules(Struct, frozen=True, kw_only=True):
    """When it opens, and for how long.

    Attributes:
        min_calls: calls in the window before it can open.
        ratio: share of failures at which it opens.
        window_seconds: how far back calls count.
        open_seconds: how long it is open the first time.
    """

    min_calls: int = 10
    ratio: float = 0.5
    window_seconds: float = 30.0
    open_seconds: float = 5.0

    @classmethod
    def of(cls, settings: RoutingSettings) -> Self:
        """Return the rules that settings say."""
        return cls(
            min_calls=settings.breaker_min_calls,
            ratio=settings.breaker_ratio,
            window_seconds=settings.breaker_window_seconds,
            open_seconds=settings.breaker_open_seconds,
        )


class _Slice(Struct):
    """Calls of a tenth of the window."""

    number: int
    calls: int = 0
    failures: int = 0


class Breaker:
    """One target's. It keeps ten counts, however many calls there are.

    Args:
        rules: when it opens.
    """

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self._slices: list[_Slice] = []
        self._open_until: float | None = None
        self._open_seconds = rules.open_seconds
        self._is_probing = False

    def state(self, now: float) -> BreakerState:
        """Return whether calls pass."""
        if self._open_until is None:
            return BreakerState.CLOSED
        return BreakerState.OPEN if now < self._open_until else BreakerState.HALF_OPEN

    def blocked_seconds(self, now: float) -> float | None:
        """Return how long no call passes, or None if one may now; while a probe runs that is not known, and 1."""
        if self._open_until is None:
            return None
        if now < self._open_until:
            return self._open_until - now
        return 1.0 if self._is_probing else None

    def begin(self, now: float) -> bool:
        """Note that a call begins, which must be followed by one of the three below; return whether it is the probe."""
        is_probe = self.state(now) is BreakerState.HALF_OPEN
        self._is_probing = self._is_probing or is_probe
        return is_probe

    def succeed(self, now: float, *, is_probe: bool) -> None:
        """Note that a call was answered, if only with a refusal of the request."""
        if is_probe:
            self._open_until, self._is_probing = None, False
            self._open_seconds = self._rules.open_seconds
            self._slices.clear()
        elif self._open_until is None:
            self._count(now, failures=0)

    def fail(self, now: float, *, is_probe: bool) -> None:
        """Note that the upstream failed."""
        if is_probe:
            self._is_probing = False
            self._open_seconds = min(self._open_seconds * 2, MOST_OPEN_SECONDS)
            self._open_until = now + self._open_seconds
        elif self._open_until is None:
            self._count(now, failures=1)
            calls = sum(item.calls for item in self._slices)
            failures = sum(item.failures for item in self._slices)
            if calls >= self._rules.min_calls and failures >= calls * self._rules.ratio:
                self._open_until = now + self._open_seconds

    def give_up(self, *, is_probe: bool) -> None:
        """Note that a call ended without telling anything: its client left, or the provider has no room now."""
        if is_probe:
            self._is_probing = False

    def _count(self, now: float, *, failures: int) -> None:
        number = int(now / self._rules.window_seconds * _SLICES)
        if not self._slices or self._slices[-1].number != number:
            self._slices.append(_Slice(number))
        self._slices = [item for item in self._slices if item.number > number - _SLICES]
        self._slices[-1].calls += 1
        self._slices[-1].failures += failures
