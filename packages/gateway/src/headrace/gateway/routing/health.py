"""How one model of one provider fares: its breaker, and the pause that it asked for."""

from collections.abc import Sequence

from headrace.gateway.routing.breaker import Breaker, BreakerRules, BreakerState
from headrace.gateway.routing.decide import TargetFailure
from headrace.gateway.routing.facts import RoutingObserver, TargetTurned
from headrace.providers.base import Fault
from headrace.schema.errors import ErrorCode

LONGEST_PAUSE_SECONDS = 300.0


class TargetHealth:
    """Decides whether a target may be asked.

    Args:
        target: its name.
        rules: of its breaker.
        observers: are told when that changes.
    """

    def __init__(self, target: str, rules: BreakerRules, observers: Sequence[RoutingObserver]) -> None:
        self._target = target
        self._breaker = Breaker(rules)
        self._observers = observers
        self._paused_until = 0.0

    def blocked_seconds(self, now: float) -> float | None:
        """Return how long it may not be asked; None if it may be now."""
        if now < self._paused_until:
            return self._paused_until - now
        return self._breaker.blocked_seconds(now)

    def begin(self, now: float) -> bool:
        """Note that it is asked; return whether that is the probe of a breaker that is half open."""
        is_probe = self._breaker.begin(now)
        if is_probe:
            self._tell(TargetTurned(target=self._target, state=BreakerState.HALF_OPEN))
        return is_probe

    def succeed(self, now: float, *, is_probe: bool) -> None:
        """Note that it answered."""
        self._breaker.succeed(now, is_probe=is_probe)
        if is_probe:
            self._tell(TargetTurned(target=self._target, state=BreakerState.CLOSED))

    def fail(self, now: float, failure: TargetFailure, *, is_probe: bool) -> None:
        """Note how it failed: only what is the upstream's own fault counts against it.

        A deadline counts neither way. Its client has chosen it, and could otherwise close a target to all others.
        """
        if failure.code is ErrorCode.DEADLINE_EXCEEDED:
            self._breaker.give_up(is_probe=is_probe)
            return
        match failure.fault:
            case Fault.UPSTREAM:
                was_open = self._breaker.state(now) is BreakerState.OPEN
                self._breaker.fail(now, is_probe=is_probe)
                if not was_open and self._breaker.state(now) is BreakerState.OPEN:
                    seconds = self._breaker.blocked_seconds(now) or 0.0
                    self._tell(TargetTurned(target=self._target, state=BreakerState.OPEN, seconds=seconds))
            case Fault.REQUEST:
                self.succeed(now, is_probe=is_probe)
            case Fault.REFUSED:
                self._breaker.give_up(is_probe=is_probe)
                self._pause(now, failure)
            case None:
                self._breaker.give_up(is_probe=is_probe)

    def _pause(self, now: float, failure: TargetFailure) -> None:
        # Without a word for how long, it may be over at once: of our own limit of connections it is.
        if failure.retry_after_seconds:
            seconds = min(failure.retry_after_seconds, LONGEST_PAUSE_SECONDS)
            self._paused_until = now + seconds
            fact = TargetTurned(target=self._target, state=BreakerState.OPEN, seconds=seconds, cause="refusal")
            self._tell(fact)

    def _tell(self, fact: TargetTurned) -> None:
        for observer in self._observers:
            observer.target_turned(fact)
