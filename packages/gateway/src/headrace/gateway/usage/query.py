"""Reads what somebody wants to know of the ledger."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from headrace.accounts.ledger.report import DIMENSIONS, MAX_ROWS, Dimension, UsageQuery
from headrace.accounts.quota.periods import bounds_of, month_of
from headrace.gateway.failure import RequestRefusedError

Format = Literal["json", "csv"]

PARAMETERS = ("start", "start_time", "end", "end_time", "group_by", "key", "model", "limit", "page", "format")
ADMIN_PARAMETERS = (*PARAMETERS, "tenant")
DEFAULT_LIMIT = 100
_LAST_SECOND = 2**40
# OpenAI's words for what it groups by.
_NAMES: dict[str, Dimension] = {**{name: name for name in DIMENSIONS}, "api_key_id": "key", "project_id": "tenant"}
_CSV = "text/csv"


def read_usage_query(
    query: Mapping[str, str], *, now: float, tenant_id: str | None, served: frozenset[str]
) -> UsageQuery:
    """Return what a query asks for; without times, that is this month until now.

    Args:
        query: its parameters.
        now: Unix seconds.
        tenant_id: the only tenant that may be asked about; None for any.
        served: the served names that whoever asks may know.

    Raises:
        RequestRefusedError: a parameter can't be read.
    """
    start = _read_time(query, "start", "start_time")
    end = _read_time(query, "end", "end_time")
    asked = UsageQuery(
        start=round(bounds_of(month_of(now))[0]) if start is None else start,
        end=int(now) + 1 if end is None else end,
        group_by=_read_dimensions(query.get("group_by", "")),
        tenant_id=tenant_id,
        tenant=query.get("tenant"),
        key=query.get("key"),
        model=query.get("model"),
        served=served,
        limit=_read_limit(query.get("limit")),
        after=query.get("page"),
    )
    if asked.start >= asked.end:
        raise RequestRefusedError("'start' must be before 'end'", reason="invalid_value", param="start")
    return asked


def read_format(query: Mapping[str, str], accept: str) -> Format:
    """Return how the answer is to be written.

    Raises:
        RequestRefusedError: the format is none that we have.
    """
    match query.get("format"):
        case None:
            return "csv" if accept.split(",")[0].split(";")[0].strip().lower() == _CSV else "json"
        case "json":
            return "json"
        case "csv":
            return "csv"
        case _:
            raise RequestRefusedError("'format' must be json or csv", reason="invalid_value", param="format")


def _read_time(query: Mapping[str, str], *names: str) -> int | None:
    for name in names:
        if (text := query.get(name)) is not None:
            return _to_seconds(text.strip(), name)
    return None


def _to_seconds(text: str, name: str) -> int:
    if re.fullmatch(r"[0-9]{1,13}", text) and int(text) < _LAST_SECOND:
        return int(text)
    try:
        instant = datetime.fromisoformat(text)
        seconds = (instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant).timestamp()
    except (ValueError, OverflowError):
        message = f"'{name}' must be Unix seconds, a date (2026-01-31, UTC), or an instant of ISO 8601"
        raise RequestRefusedError(message, reason="invalid_value", param=name) from None
    return max(0, int(seconds))


def _read_dimensions(text: str) -> tuple[Dimension, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = next((name for name in names if name not in _NAMES), None)
    if unknown is not None:
        message = f"'group_by' must be some of {', '.join(DIMENSIONS)}, with commas between them"
        raise RequestRefusedError(message, reason="invalid_value", param="group_by")
    return tuple(dict.fromkeys(_NAMES[name] for name in names))


def _read_limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MAX_ROWS:
        message = f"'limit' must be a whole number from 1 to {MAX_ROWS}"
        raise RequestRefusedError(message, reason="invalid_value", param="limit")
    return int(text)
