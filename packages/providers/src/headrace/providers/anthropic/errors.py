"""Anthropic's errors."""

import msgspec

from headrace.providers.anthropic.wire import ErrorBody, ErrorDetail
from headrace.providers.failing import Kind, VendorError

_KINDS: dict[str, Kind] = {
    "authentication_error": "key",
    "billing_error": "quota",
    "overloaded_error": "overloaded",
    "permission_error": "refused",
    "rate_limit_error": "rate",
    "timeout_error": "timeout",
}
_STATUSES = {
    "invalid_request_error": 400,
    "not_found_error": 404,
    "request_too_large": 413,
    "api_error": 500,
}
_errors = msgspec.json.Decoder(ErrorBody)


def read_error_body(body: bytes) -> VendorError:
    """Return what the body of an error says, whatever it is."""
    try:
        return read_error(_errors.decode(body).error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return VendorError()


def read_error(error: ErrorDetail) -> VendorError:
    """Return what an error says."""
    kind = _KINDS.get(error.type, "")
    if error.type == "invalid_request_error" and "credit balance" in error.message:
        kind = "quota"
    return VendorError(message=error.message, kind=kind, status=_STATUSES.get(error.type))
