"""How a failure that nobody planned for is logged.

The message of a foreign exception may quote what the client sent, so a traceback is written without it: where it
happened and of which kind it was.
"""

import traceback

import structlog

from headrace.gateway.failure import Failure, failure_of_code
from headrace.schema.errors import ErrorCode

_log = structlog.get_logger("headrace.gateway")


def report_unexpected(error: BaseException, *, request_id: str | None) -> Failure:
    """Log an exception that nobody converted, and return what the client is told of it."""
    _log.error(
        "unexpected failure",
        request_id=request_id,
        error=type(error).__qualname__,
        traceback="".join(traceback.format_tb(error.__traceback__)),
    )
    return failure_of_code(ErrorCode.INTERNAL_ERROR, "something went wrong on our side; it has been logged")
