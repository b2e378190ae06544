"""Errors in the native shape, which the routes of operators share."""

import msgspec

from headrace.gateway.dialects.native.wire import ErrorBody, ErrorDetail
from headrace.gateway.failure import Failure
from headrace.gateway.rate_limits import openai_headers
from headrace.schema.caller import RateLimits


class NativeDialect:
    """Writes `{"error": {"code", "message", "param", "retryable"}}`."""

    name = "native"

    def encode_failure(self, failure: Failure) -> bytes:
        """Return the JSON body of an error answer."""
        return msgspec.json.encode(ErrorBody(to_detail(failure)))

    def status_of(self, failure: Failure) -> int:
        """Return the HTTP status of an error answer."""
        return failure.status

    def rate_limit_headers(self, limits: RateLimits) -> dict[str, str]:
        """Return the headers of rate limits, which are OpenAI's: most clients that read any read those."""
        return openai_headers(limits)


def to_detail(failure: Failure) -> ErrorDetail:
    """Return a failure in the words of the native API."""
    return ErrorDetail(code=failure.code, message=failure.message, param=failure.param, retryable=failure.retryable)
