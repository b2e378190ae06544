"""The facts of metering as Prometheus metrics."""

from prometheus_client import CollectorRegistry, Counter, Gauge

from headrace.accounts.quota.base import LimitKind
from headrace.schema.events import Usage


class MeteringMetrics:
    """A `MeteringObserver` that counts. Labels are served names and kinds of limits only, so there are few of them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._refused = Counter(
            "headrace_accounts_reservations_refused",
            "Requests that were refused by a limit of their key or tenant.",
            ["limit"],
            registry=registry,
        )
        self._settled = Counter(
            "headrace_accounts_settled_tokens",
            "Tokens that ended generations were charged with.",
            ["model", "kind"],
            registry=registry,
        )
        self._away = Gauge(
            "headrace_accounts_quota_store_away",
            "1 while the shared quotas can't be reached and this gateway counts alone.",
            registry=registry,
        )
        self._backlog = Gauge(
            "headrace_accounts_ledger_backlog",
            "Rows of the usage ledger that are in the journal and not in the database yet.",
            registry=registry,
        )

    def reservation_refused(self, kind: LimitKind) -> None:
        """Count a refusal."""
        self._refused.labels(kind.value).inc()

    def generation_settled(self, model: str, usage: Usage) -> None:
        """Count what was charged."""
        self._settled.labels(model, "input").inc(usage.input_tokens)
        self._settled.labels(model, "output").inc(usage.output_tokens)

    def quota_store_changed(self, *, is_away: bool) -> None:
        """Note whether the shared quotas can be reached."""
        self._away.set(int(is_away))

    def ledger_backlog_changed(self, rows: int) -> None:
        """Note how many rows wait."""
        self._backlog.set(rows)
