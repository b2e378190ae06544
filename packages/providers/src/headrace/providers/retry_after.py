"""When a provider says that a call may be sent again, by any of the headers that vendors use for it."""

import math
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

MAX_SECONDS = 24 * 3600.0
# OpenAI's and its kin's, where there is no Retry-After: until a window that is used up is open again.
_RESETS = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds to wait, or None where no header says it. Nothing that a header holds can raise.

    Args:
        headers: of the answer, by any case of their names.
    """
    if (milliseconds := _read_number(headers.get("retry-after-ms"), 0.001)) is not None:
        return milliseconds
    if (after := headers.get("retry-after")) is not None:
        seconds = _read_number(after, 1.0)
        return _read_date(after, headers.get("date")) if seconds is None else seconds
    waits = [wait for name in _RESETS if (wait := read_duration(headers.get(name))) is not None]
    return max(waits) if waits else None


def read_duration(text: str | None) -> float | None:
    """Return the seconds of a duration such as `6m0s`, `250ms` or `36.5s`, or None for what is none."""
    rest = (text or "").strip()[:32]
    total, found = 0.0, False
    while rest:
        digits = len(rest) - len(rest.lstrip("0123456789."))
        letters = len(rest[digits:]) - len(rest[digits:].lstrip("dhms"))
        seconds = _read_number(rest[:digits], _UNITS.get(rest[digits : digits + letters], math.nan))
        if seconds is None:
            return None
        total, found, rest = total + seconds, True, rest[digits + letters :]
    return min(total, MAX_SECONDS) if found else None


def _read_number(text: str | None, unit: float) -> float | None:
    try:
        seconds = float(text or "") * unit
    except ValueError:
        return None
    return min(max(seconds, 0.0), MAX_SECONDS) if math.isfinite(seconds) else None


def _read_date(text: str, now: str | None) -> float | None:
    """Return the seconds until a date, by the clock of the one who wrote it."""
    try:
        wait = (parsedate_to_datetime(text) - parsedate_to_datetime(now or "")).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(wait, 0.0), MAX_SECONDS)
