"""OpenAI's errors, in the several forms that servers of its API give them."""

from typing import Any, cast

import msgspec

from headrace.providers.failing import Kind, VendorError
from headrace.providers.openai.wire import ErrorDetail

_KINDS: dict[str, Kind] = {
    "billing_hard_limit_reached": "quota",
    "context_length_exceeded": "context",
    "insufficient_quota": "quota",
    "invalid_api_key": "key",
    "model_not_found": "model",
    "rate_limit_exceeded": "rate",
    "server_overloaded": "overloaded",
    "engine_overloaded": "overloaded",
}
_LOWEST_STATUS, _HIGHEST_STATUS = 400, 599


def read_error_body(body: bytes) -> VendorError:
    """Return what the body of an error says, whatever it is."""
    try:
        return read_error_value(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return VendorError()


def read_error_value(value: Any) -> VendorError:
    """Return what an error says: `{"error": {…}}`, `{"error": "…"}`, `{"detail": …}`, or the inside of the first."""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return read_error_value(items[0]) if items and isinstance(items[0], dict) else VendorError()
    if isinstance(value, str):
        return VendorError(message=value)
    if not isinstance(value, dict):
        return VendorError()
    fields = cast("dict[str, Any]", value)
    if fields.get("error") is not None:
        return read_error_value(fields["error"])
    if isinstance(detail := fields.get("detail"), str):
        return VendorError(message=detail)
    return _to_error({name: fields.get(name) for name in ErrorDetail.__struct_fields__})


def _to_error(fields: dict[str, Any]) -> VendorError:
    message, code, param, type_ = (fields[name] for name in ("message", "code", "param", "type"))
    number = int(code) if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) == 3 else code
    status = number if isinstance(number, int) and _LOWEST_STATUS <= number <= _HIGHEST_STATUS else None
    words = [word for word in (code, type_) if isinstance(word, str)]
    kinds: list[Kind] = [_KINDS[word] for word in words if word in _KINDS]
    return VendorError(
        message=message if isinstance(message, str) else "",
        kind=kinds[0] if kinds else "",
        param=param if isinstance(param, str) and param else None,
        status=status,
    )
