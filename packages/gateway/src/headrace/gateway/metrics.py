"""The gateway's facts as Prometheus metrics.

Labels are dialects, served names and error codes, all of which we chose ourselves: a client can't make new series.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from headrace.gateway.facts import FINISHED, CallEnded, CallOpened, RequestRefusal
from headrace.schema.errors import ErrorCode

_FIRST_BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_TOTAL_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0)
_KNOWN_CODES = frozenset(ErrorCode)
_OTHER_CODE = "other"


class GatewayMetrics:
    """A `GatewayObserver` that counts.

    Args:
        registry: where the metrics are kept; the process may keep those of other rooms in the same one.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = CollectorRegistry() if registry is None else registry
        self._requests = Counter(
            "headrace_gateway_requests",
            "Generations that ended, by outcome: finished, or an error code.",
            ["dialect", "model", "outcome"],
            registry=self._registry,
        )
        self._errors = Counter(
            "headrace_gateway_errors",
            "Failures that clients were told of, also those of requests that never became a generation.",
            ["dialect", "code"],
            registry=self._registry,
        )
        self._in_flight = Gauge(
            "headrace_gateway_in_flight",
            "Generations that have not ended.",
            ["dialect", "model"],
            registry=self._registry,
        )
        self._input_tokens = Counter(
            "headrace_gateway_input_tokens", "Tokens of prompts.", ["dialect", "model"], registry=self._registry
        )
        self._output_tokens = Counter(
            "headrace_gateway_output_tokens", "Tokens of answers.", ["dialect", "model"], registry=self._registry
        )
        self._clients_left = Counter(
            "headrace_gateway_clients_left",
            "Clients that went away before their answer was whole.",
            ["dialect", "model"],
            registry=self._registry,
        )
        self._first_event = self._histogram("first_event", "From the request to the first event.", _FIRST_BUCKETS)
        self._first_token = self._histogram("first_token", "From the request to the first text.", _FIRST_BUCKETS)
        self._duration = self._histogram("duration", "From the request to its end.", _TOTAL_BUCKETS)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(
            f"headrace_gateway_{name}_seconds", text, ["dialect", "model"], registry=self._registry, buckets=buckets
        )

    def call_opened(self, fact: CallOpened) -> None:
        """Count a generation in."""
        self._in_flight.labels(fact.dialect, fact.model).inc()

    def call_ended(self, fact: CallEnded) -> None:
        """Count a generation out."""
        names = (fact.call.dialect, fact.call.model)
        self._in_flight.labels(*names).dec()
        outcome = fact.outcome if fact.outcome == FINISHED else _bounded(fact.outcome)
        self._requests.labels(*names, outcome).inc()
        if fact.outcome != FINISHED:
            self._errors.labels(fact.call.dialect, outcome).inc()
        if fact.client_left:
            self._clients_left.labels(*names).inc()
        if fact.usage is not None:
            self._input_tokens.labels(*names).inc(fact.usage.input_tokens)
            self._output_tokens.labels(*names).inc(fact.usage.output_tokens)
        if fact.first_event_seconds is not None:
            self._first_event.labels(*names).observe(fact.first_event_seconds)
        if fact.first_token_seconds is not None:
            self._first_token.labels(*names).observe(fact.first_token_seconds)
        self._duration.labels(*names).observe(fact.total_seconds)

    def request_refused(self, fact: RequestRefusal) -> None:
        """Count a request that was refused."""
        self._errors.labels(fact.dialect, _bounded(fact.code)).inc()

    def render(self) -> tuple[str, bytes]:
        """Return the content type and the text that Prometheus reads."""
        # Litestar adds the charset to every text.
        return CONTENT_TYPE_LATEST.removesuffix("; charset=utf-8"), generate_latest(self._registry)


def _bounded(code: str) -> str:
    return code if code in _KNOWN_CODES else _OTHER_CODE
