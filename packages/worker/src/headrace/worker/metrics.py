"""The worker's facts as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from headrace.worker.observer import GenerationPaused, GenerationRan, GenerationResumed, IntakeSwitched

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class WorkerMetrics:
    """A `WorkerObserver` that counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._ran = Counter(
            "headrace_worker_generations", "Tasks that left this worker.", ["model", "outcome"], registry=registry
        )
        self._tokens = Counter("headrace_worker_output_tokens", "Tokens sampled.", ["model"], registry=registry)
        self._queue = Histogram(
            "headrace_worker_queue_seconds", "Submit to pickup.", ["model"], buckets=_SECONDS, registry=registry
        )
        self._first_token = Histogram(
            "headrace_worker_first_token_seconds",
            "Pickup to first token.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )

        self._pauses = Counter(
            "headrace_worker_pauses", "Batch generations that made way for online ones.", ["model"], registry=registry
        )
        self._paused = Histogram(
            "headrace_worker_paused_seconds",
            "Length of a pause of a batch generation.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._intake_closed = Gauge(
            "headrace_worker_intake_closed",
            "1 while the worker takes no tasks off a lane's queue, for want of room.",
            ["model", "lane"],
            registry=registry,
        )

    def generation_ran(self, fact: GenerationRan) -> None:
        """Count a task."""
        self._ran.labels(fact.model, fact.outcome).inc()
        self._tokens.labels(fact.model).inc(fact.output_tokens)
        self._queue.labels(fact.model).observe(fact.queue_seconds)
        if fact.first_token_seconds is not None:
            self._first_token.labels(fact.model).observe(fact.first_token_seconds)

    def generation_paused(self, fact: GenerationPaused) -> None:
        """Count a pause."""
        self._pauses.labels(fact.model).inc()

    def generation_resumed(self, fact: GenerationResumed) -> None:
        """Count how long it took."""
        self._paused.labels(fact.model).observe(fact.paused_seconds)

    def intake_switched(self, fact: IntakeSwitched) -> None:
        """Show it."""
        self._intake_closed.labels(fact.model, fact.lane).set(0 if fact.is_open else 1)
