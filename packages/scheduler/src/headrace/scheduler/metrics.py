"""The scheduler's facts as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from headrace.scheduler.observer import GenerationEnded


class SchedulerMetrics:
    """A `SchedulerObserver` that counts. Labels are served names and error codes only, so there are few of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._in_flight = Gauge(
            "headrace_scheduler_in_flight", "Generations that have no terminal event yet.", ["model"], registry=registry
        )
        self._ended = Counter(
            "headrace_scheduler_generations", "Generations that ended.", ["model", "outcome"], registry=registry
        )
        self._attempts = Counter(
            "headrace_scheduler_further_attempts",
            "Attempts beyond the first, after a redelivery.",
            ["model"],
            registry=registry,
        )

    def generation_accepted(self, model: str) -> None:
        """Count a request in."""
        self._in_flight.labels(model).inc()

    def generation_ended(self, fact: GenerationEnded) -> None:
        """Count a generation out."""
        self._in_flight.labels(fact.model).dec()
        self._ended.labels(fact.model, fact.outcome).inc()

    def attempt_opened(self, model: str) -> None:
        """Count a further attempt."""
        self._attempts.labels(model).inc()
