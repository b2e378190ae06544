"""Errors in OpenAI's shape, with its words where it has one."""

import msgspec

from headrace.gateway.dialects.openai.wire import OpenAIErrorBody, OpenAIErrorDetail
from headrace.gateway.failure import Failure
from headrace.schema.errors import ErrorCode

_CODES: dict[str, str | None] = {
    ErrorCode.INVALID_REQUEST: None,
    ErrorCode.UNAUTHORIZED: "invalid_api_key",
    ErrorCode.NOT_FOUND: "unknown_url",
    ErrorCode.METHOD_NOT_ALLOWED: "method_not_supported",
}


class OpenAIDialect:
    """Writes `{"error": {"message", "type", "param", "code"}}`."""

    name = "openai"

    def encode_failure(self, failure: Failure) -> bytes:
        """Return the JSON body of an error answer."""
        return msgspec.json.encode(to_body(failure))


def to_body(failure: Failure) -> OpenAIErrorBody:
    """Return a failure in OpenAI's words. A code that OpenAI has no word for keeps ours."""
    code = failure.reason or _CODES.get(failure.code, failure.code)
    # What an engine finds wrong is named by the native path; here the same field stands at the top of the body.
    param = failure.param.removeprefix("generation_parameters.") if failure.param else None
    return OpenAIErrorBody(
        OpenAIErrorDetail(message=failure.message, type=_type_of(failure.status), param=param, code=code)
    )


def _type_of(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
