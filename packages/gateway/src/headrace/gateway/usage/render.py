"""Sums of the ledger as a body: JSON, or lines for a spreadsheet."""

import csv
import io
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime

from headrace.accounts.ledger.report import DIMENSIONS, Dimension, UsagePage, UsageQuery, UsageSum
from headrace.accounts.quota.periods import DAY_SECONDS
from headrace.gateway.usage.wire import UsageBody, UsageBucket, UsageResult

# After the sums, so that the columns of before stay where they were.
_NAMES: dict[Dimension, tuple[str, ...]] = {"tenant": ("tenant_name",), "key": ("key_name", "key_prefix")}
_SUMS = ("requests", "input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens", "cost_micros")


def to_body(query: UsageQuery, page: UsagePage, *, currency: str) -> UsageBody:
    """Return a page as it is sent."""
    buckets = [
        _to_bucket(query, day, list(sums))
        for day, sums in itertools.groupby(page.sums, key=lambda each: each.group.get("day"))
    ]
    return UsageBody(data=tuple(buckets), has_more=page.after is not None, next_page=page.after, currency=currency)


def _to_bucket(query: UsageQuery, day: str | int | None, sums: Sequence[UsageSum]) -> UsageBucket:
    begin, end = (query.start, query.end) if day is None else (int(day), int(day) + DAY_SECONDS)
    return UsageBucket(start_time=begin, end_time=end, results=tuple(_to_result(each) for each in sums))


def _to_result(each: UsageSum) -> UsageResult:
    words = {name: str(value) for name, value in each.group.items()}
    return UsageResult(
        project_id=words.get("tenant"),
        api_key_id=words.get("key"),
        model=words.get("model"),
        route=words.get("route"),
        outcome=words.get("outcome"),
        num_model_requests=each.requests,
        input_tokens=each.input_tokens,
        output_tokens=each.output_tokens,
        input_cached_tokens=each.cached_tokens,
        output_reasoning_tokens=each.reasoning_tokens,
        cost_micros=each.cost_micros,
        project_name=each.tenant_name,
        api_key_name=each.key_name,
        api_key_prefix=each.key_prefix,
    )


def to_csv(query: UsageQuery, page: UsagePage) -> str:
    """Return a page as comma-separated lines, with the names of the columns first; unknown names are empty."""
    dimensions: list[Dimension] = [name for name in DIMENSIONS if name in query.group_by]
    fields = (*_SUMS, *(field for name in dimensions for field in _NAMES.get(name, ())))
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([*dimensions, *fields])
    for each in page.sums:
        writer.writerow([*(_show(name, each) for name in dimensions), *(getattr(each, field) for field in fields)])
    return text.getvalue()


def _show(name: Dimension, each: UsageSum) -> str:
    value = each.group[name]
    return datetime.fromtimestamp(int(value), UTC).date().isoformat() if name == "day" else str(value)
