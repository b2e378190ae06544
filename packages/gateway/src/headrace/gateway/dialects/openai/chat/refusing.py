"""The refusals that several fields of a chat share."""

from collections.abc import Sequence

from headrace.gateway.failure import RequestRefusedError
from headrace.schema.errors import ErrorCode, HeadraceError

_SHOWN_LENGTH = 32


def unsupported(param: str, *, advice: str = "") -> HeadraceError:
    """Return the refusal of a field that we know and can't honour."""
    return HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, f"'{param}' is not supported{advice}", param=param)


def unsupported_value(param: str, value: str, supported: Sequence[str], *, advice: str = "") -> RequestRefusedError:
    """Return the refusal of a value that is none of those that we can honour."""
    message = f"'{param}': '{value[:_SHOWN_LENGTH]}' is not supported{advice}; supported: {', '.join(supported)}"
    return RequestRefusedError(message, reason="unsupported_value", param=param, code=ErrorCode.UNSUPPORTED_PARAMETER)


def wrong_type(param: str, expected: str) -> RequestRefusedError:
    """Return the refusal of a field that is not what it must be."""
    return RequestRefusedError(f"'{param}' must be {expected}", reason="invalid_type", param=param)


def only_with(param: str, other: str) -> RequestRefusedError:
    """Return the refusal of a field that says nothing without another."""
    return RequestRefusedError(f"'{param}' is only allowed with '{other}'", reason="invalid_value", param=param)
