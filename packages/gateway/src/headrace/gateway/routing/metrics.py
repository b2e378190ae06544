"""Routing's facts as Prometheus metrics. Labels are served names, targets and error codes: all of them are settings."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headrace.gateway.routing.breaker import BreakerState
from headrace.gateway.routing.facts import TargetTried, TargetTurned

_BUCKETS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0)
_NUMBERS = {BreakerState.CLOSED: 0, BreakerState.HALF_OPEN: 1, BreakerState.OPEN: 2}


class RoutingMetrics:
    """A `RoutingObserver` that counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._tries = Counter(
            "headrace_routing_tries",
            "Tries at targets, by outcome: finished, or an error code.",
            ["route", "target", "outcome"],
            registry=registry,
        )
        self._first_token = Histogram(
            "headrace_routing_first_token_seconds",
            "From the begin of a try to its first text.",
            ["target"],
            registry=registry,
            buckets=_BUCKETS,
        )
        self._state = Gauge(
            "headrace_routing_breaker_state",
            "Whether calls pass to a target at a provider: 0 yes, 1 one as a probe, 2 no.",
            ["target"],
            registry=registry,
        )
        self._set_aside = Counter(
            "headrace_routing_set_aside",
            "How often a target at a provider was set aside, by cause: failures, or refusal.",
            ["target", "cause"],
            registry=registry,
        )

    def target_tried(self, fact: TargetTried) -> None:
        """Count a try."""
        self._tries.labels(fact.route, fact.target, fact.outcome).inc()
        if fact.first_token_seconds is not None:
            self._first_token.labels(fact.target).observe(fact.first_token_seconds)

    def target_turned(self, fact: TargetTurned) -> None:
        """Show whether calls pass."""
        if fact.cause == "failures":
            self._state.labels(fact.target).set(_NUMBERS[fact.state])
        if fact.state is BreakerState.OPEN:
            self._set_aside.labels(fact.target, fact.cause).inc()
