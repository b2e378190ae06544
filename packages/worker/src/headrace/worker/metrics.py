"""The worker's facts as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Histogram

from headrace.worker.observer import GenerationRan

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

    def generation_ran(self, fact: GenerationRan) -> None:
        """Count a task."""
        self._ran.labels(fact.model, fact.outcome).inc()
        self._tokens.labels(fact.model).inc(fact.output_tokens)
        self._queue.labels(fact.model).observe(fact.queue_seconds)
        if fact.first_token_seconds is not None:
            self._first_token.labels(fact.model).observe(fact.first_token_seconds)
