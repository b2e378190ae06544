"""A failure on its way to a client, as one value.

A call fails in two worlds: by an exception before its stream has begun, and by a `GenerationFailed` event inside it.
The dialects write both the same way, so both become a `Failure` first.
"""

from typing import Literal

from msgspec import Struct

from headrace.accounts.quota.base import LimitKind
from headrace.accounts.quota.refusal import QuotaRefusedError
from headrace.schema.caller import RateLimits
from headrace.schema.errors import ErrorCode, HeadraceError, answer_for
from headrace.schema.events import GenerationFailed

Reason = Literal[
    "array_above_max_length",
    "decimal_above_max_value",
    "decimal_below_min_value",
    "empty_array",
    "empty_string",
    "integer_above_max_value",
    "integer_below_min_value",
    "invalid_json",
    "invalid_type",
    "invalid_value",
    "missing_required_parameter",
    "previous_response_not_found",
    "string_above_max_length",
    "unknown_parameter",
    "unsupported_value",
]


class RequestRefusedError(HeadraceError):
    """A request that can't be run as it was written.

    Attributes:
        reason: what is wrong, finer than the code; dialects that have a word for it show it.
    """

    def __init__(
        self, message: str, *, reason: Reason, param: str | None = None, code: ErrorCode = ErrorCode.INVALID_REQUEST
    ) -> None:
        super().__init__(code, message, param=param)
        self.reason: Reason = reason


class Failure(Struct, frozen=True, kw_only=True):
    """What a client is told when its call fails.

    Attributes:
        code: a value of `ErrorCode`, or one that a newer peer invented.
        message: one sentence.
        retryable: whether the same request may succeed when it is sent again.
        param: the field or header at fault, where there is one.
        reason: what is wrong with `param`, in finer words than the code.
        request_id: the generation, for dialects whose errors have a place for it.
        retry_after_seconds: when the same request may be taken, where that is known.
        rate_limits: where the caller stands, if it has limits.
        limit: which of its limits was in the way, if it was one.
    """

    code: str
    message: str
    retryable: bool
    param: str | None = None
    reason: Reason | None = None
    request_id: str | None = None
    retry_after_seconds: float | None = None
    rate_limits: RateLimits | None = None
    limit: LimitKind | None = None

    @property
    def status(self) -> int:
        """The HTTP status of this failure."""
        return answer_for(self.code).status


class CallFailedError(Exception):
    """A call ended in a failure that is already recorded; it only has to be answered."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def failure_of_code(code: ErrorCode, message: str, *, param: str | None = None) -> Failure:
    """Return a failure with the answers that the table has for its code."""
    return Failure(code=code, message=message, retryable=answer_for(code).retryable, param=param)


def failure_of_error(error: HeadraceError) -> Failure:
    """Return the failure that an exception stands for."""
    reason: Reason | None = error.reason if isinstance(error, RequestRefusedError) else None
    refusal = error if isinstance(error, QuotaRefusedError) else None
    return Failure(
        code=error.code,
        message=error.message,
        retryable=error.answer.retryable,
        param=error.param,
        reason=reason,
        retry_after_seconds=error.retry_after_seconds,
        rate_limits=None if refusal is None else refusal.rate_limits,
        limit=None if refusal is None else refusal.kind,
    )


def failure_of_event(event: GenerationFailed) -> Failure:
    """Return the failure that a terminal event stands for."""
    return Failure(code=event.code, message=event.message, retryable=event.retryable, param=event.param)


def event_of_failure(failure: Failure) -> GenerationFailed:
    """Return the terminal event that tells a failure which happened on this side of the scheduler."""
    return GenerationFailed(
        code=failure.code,
        message=failure.message,
        stage="reply",
        retryable=failure.retryable,
        param=failure.param,
    )
