"""The scheduler's facts as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from headrace.scheduler.observer import GenerationEnded
from headrace.schema.names import Lane


class SchedulerMetrics:
    """A `SchedulerObserver` and `QueueObserver` that counts.

    Labels are served names, lanes, reasons and error codes only, so there are few of them.
    """

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
        self._republished = Counter(
            "headrace_scheduler_republished_tasks",
            "Tasks of adopted generations that no worker had any more, published again.",
            ["model"],
            registry=registry,
        )
        self._waiting = Gauge(
            "headrace_scheduler_waiting",
            "Requests of this gateway that no worker has taken yet.",
            ["model", "lane"],
            registry=registry,
        )
        self._expected = Gauge(
            "headrace_scheduler_expected_wait_seconds",
            "Expected wait of a request that would come now, behind all others.",
            ["model", "lane"],
            registry=registry,
        )
        self._copies = Counter(
            "headrace_scheduler_aged_copies",
            "Copies of tasks that waited so long that they went up.",
            ["model", "lane"],
            registry=registry,
        )
        self._refusals = Counter(
            "headrace_scheduler_refusals",
            "Requests that were refused because of a limit.",
            ["model", "reason"],
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

    def task_republished(self, model: str) -> None:
        """Count a task that was published again."""
        self._republished.labels(model).inc()

    def wait_began(self, deployment: str, lane: Lane) -> None:
        """Count a request into a line."""
        self._waiting.labels(deployment, lane).inc()

    def wait_ended(self, deployment: str, lane: Lane) -> None:
        """Count a request out of a line."""
        self._waiting.labels(deployment, lane).dec()

    def wait_estimated(self, deployment: str, lane: Lane, seconds: float) -> None:
        """Show the newest estimate."""
        self._expected.labels(deployment, lane).set(seconds)

    def task_copied(self, deployment: str, lane: Lane) -> None:
        """Count a copy."""
        self._copies.labels(deployment, lane).inc()

    def request_refused(self, deployment: str, reason: str) -> None:
        """Count a refusal."""
        self._refusals.labels(deployment, reason).inc()
