"""Every way a request can fail, with the answers that the rest of Headrace needs, in one table.

A failure is data: its code decides the HTTP status, whether the same request may succeed when it is sent again, and how
loudly it is logged. Foreign exceptions are turned into a `HeadraceError` in the module where they enter.
"""

from enum import StrEnum
from typing import Literal

from msgspec import Struct

LogLevel = Literal["info", "warning", "error"]


class ErrorCode(StrEnum):
    """What went wrong. The values are part of the wire."""

    INVALID_REQUEST = "invalid_request"
    UNSUPPORTED_PARAMETER = "unsupported_parameter"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    MODEL_NOT_FOUND = "model_not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    CONFLICT = "conflict"
    OVERLOADED = "overloaded"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    CANCELLED = "cancelled"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    BROKER_UNAVAILABLE = "broker_unavailable"
    ACCOUNTS_UNAVAILABLE = "accounts_unavailable"
    WORKER_LOST = "worker_lost"
    ENGINE_DEAD = "engine_dead"
    ENGINE_ERROR = "engine_error"
    STREAM_BROKEN = "stream_broken"
    PAYLOAD_LOST = "payload_lost"
    SHUTTING_DOWN = "shutting_down"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_TIMEOUT = "provider_timeout"
    INTERNAL_ERROR = "internal_error"


class ErrorAnswer(Struct, frozen=True):
    """What a code means to the client and to the log."""

    status: int
    retryable: bool
    log_level: LogLevel


ERROR_TABLE: dict[ErrorCode, ErrorAnswer] = {
    ErrorCode.INVALID_REQUEST: ErrorAnswer(400, retryable=False, log_level="info"),
    ErrorCode.UNSUPPORTED_PARAMETER: ErrorAnswer(400, retryable=False, log_level="info"),
    ErrorCode.CONTEXT_LENGTH_EXCEEDED: ErrorAnswer(400, retryable=False, log_level="info"),
    ErrorCode.UNAUTHORIZED: ErrorAnswer(401, retryable=False, log_level="info"),
    ErrorCode.FORBIDDEN: ErrorAnswer(403, retryable=False, log_level="info"),
    ErrorCode.NOT_FOUND: ErrorAnswer(404, retryable=False, log_level="info"),
    ErrorCode.MODEL_NOT_FOUND: ErrorAnswer(404, retryable=False, log_level="info"),
    ErrorCode.METHOD_NOT_ALLOWED: ErrorAnswer(405, retryable=False, log_level="info"),
    ErrorCode.PAYLOAD_TOO_LARGE: ErrorAnswer(413, retryable=False, log_level="info"),
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: ErrorAnswer(415, retryable=False, log_level="info"),
    ErrorCode.CONFLICT: ErrorAnswer(409, retryable=False, log_level="info"),
    ErrorCode.OVERLOADED: ErrorAnswer(429, retryable=True, log_level="warning"),
    # Too much in a while, which passes by itself; and a budget that is spent, which somebody has to raise.
    ErrorCode.RATE_LIMITED: ErrorAnswer(429, retryable=True, log_level="info"),
    ErrorCode.QUOTA_EXCEEDED: ErrorAnswer(429, retryable=False, log_level="info"),
    # 499 is what proxies log for a client that closed its request; the client itself seldom sees it.
    ErrorCode.CANCELLED: ErrorAnswer(499, retryable=False, log_level="info"),
    ErrorCode.DEADLINE_EXCEEDED: ErrorAnswer(504, retryable=True, log_level="warning"),
    ErrorCode.BROKER_UNAVAILABLE: ErrorAnswer(503, retryable=True, log_level="error"),
    ErrorCode.ACCOUNTS_UNAVAILABLE: ErrorAnswer(503, retryable=True, log_level="error"),
    ErrorCode.WORKER_LOST: ErrorAnswer(503, retryable=True, log_level="error"),
    ErrorCode.ENGINE_DEAD: ErrorAnswer(503, retryable=True, log_level="error"),
    ErrorCode.ENGINE_ERROR: ErrorAnswer(500, retryable=True, log_level="error"),
    ErrorCode.STREAM_BROKEN: ErrorAnswer(502, retryable=True, log_level="error"),
    ErrorCode.PAYLOAD_LOST: ErrorAnswer(502, retryable=True, log_level="error"),
    ErrorCode.SHUTTING_DOWN: ErrorAnswer(503, retryable=True, log_level="warning"),
    # An upstream that answered badly, that can't be reached or takes nothing now, and that did not answer in time.
    ErrorCode.PROVIDER_ERROR: ErrorAnswer(502, retryable=True, log_level="warning"),
    ErrorCode.PROVIDER_UNAVAILABLE: ErrorAnswer(503, retryable=True, log_level="warning"),
    ErrorCode.PROVIDER_TIMEOUT: ErrorAnswer(504, retryable=True, log_level="warning"),
    ErrorCode.INTERNAL_ERROR: ErrorAnswer(500, retryable=True, log_level="error"),
}


def answer_for(code: str) -> ErrorAnswer:
    """Return the answers for a code off the wire; one that a newer peer invented is treated as an internal error."""
    try:
        return ERROR_TABLE[ErrorCode(code)]
    except ValueError:
        return ERROR_TABLE[ErrorCode.INTERNAL_ERROR]


class HeadraceError(Exception):
    """A failure that a client is told about.

    Attributes:
        code: which row of the table.
        message: one sentence for the client. It never holds prompt text, paths or secrets.
        param: the field or setting at fault, where there is one.
        retry_after_seconds: when the same request may be taken, where that is known.
    """

    def __init__(
        self, code: ErrorCode, message: str, *, param: str | None = None, retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds

    @property
    def answer(self) -> ErrorAnswer:
        """Status, retryable and log level of this failure."""
        return ERROR_TABLE[self.code]
