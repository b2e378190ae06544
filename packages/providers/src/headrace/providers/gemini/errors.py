"""Google's errors: a status in words, and details of several kinds."""

from typing import Any, cast

import msgspec

from headrace.providers.failing import Kind, VendorError, says_context
from headrace.providers.retry_after import read_duration

_STATUSES: dict[str, int] = {
    "INVALID_ARGUMENT": 400,
    "OUT_OF_RANGE": 400,
    "NOT_FOUND": 404,
    "INTERNAL": 500,
    "UNKNOWN": 500,
}
_KINDS: dict[str, Kind] = {
    "UNAUTHENTICATED": "key",
    "PERMISSION_DENIED": "refused",
    # The account has no billing, or its country is not served.
    "FAILED_PRECONDITION": "refused",
    "RESOURCE_EXHAUSTED": "rate",
    "UNAVAILABLE": "overloaded",
    "DEADLINE_EXCEEDED": "timeout",
}
_KEY_REASONS = ("API_KEY_INVALID", "API_KEY_EXPIRED")
_LOWEST_STATUS, _HIGHEST_STATUS = 400, 599


def read_error_body(body: bytes) -> VendorError:
    """Return what the body of an error says, whatever it is."""
    try:
        value: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return VendorError()
    if isinstance(value, list) and value:
        value = cast("list[Any]", value)[0]
    return read_error_value(_get(value, "error"))


def read_error_value(value: Any) -> VendorError:
    """Return what the inside of an error says."""
    message, status, code = (_get(value, name) for name in ("message", "status", "code"))
    details = _get(value, "details")
    items = cast("list[Any]", details)[:16] if isinstance(details, list) else []
    message = message if isinstance(message, str) else ""
    kind = _KINDS.get(status, "") if isinstance(status, str) else ""
    if any(_get(item, "reason") in _KEY_REASONS for item in items):
        kind = "key"
    elif not kind and says_context(message):
        kind = "context"
    delays = [read_duration(delay) for item in items if isinstance(delay := _get(item, "retryDelay"), str)]
    known = [delay for delay in delays if delay is not None]
    number = _STATUSES.get(status) if isinstance(status, str) else None
    if number is None and isinstance(code, int) and _LOWEST_STATUS <= code <= _HIGHEST_STATUS:
        number = code
    return VendorError(message=message, kind=kind, status=number, retry_after_seconds=max(known) if known else None)


def _get(value: Any, name: str) -> Any:
    return cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
