"""Errors in Anthropic's shape, with its words."""

import re
import time

import msgspec

from headrace.gateway.dialects.anthropic.answers import AnthropicErrorBody, AnthropicErrorDetail
from headrace.gateway.failure import Failure
from headrace.gateway.rate_limits import anthropic_headers
from headrace.schema.caller import RateLimits

OVERLOADED_STATUS = 529
"""What Anthropic answers where HTTP has 503."""

TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    OVERLOADED_STATUS: "overloaded_error",
    504: "timeout_error",
}
_EXTENSIONS = "generation_parameters.provider_extensions"
# What an engine finds wrong is named by the native path. The places of messages differ, so only the field is named.
_NATIVE_PATHS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"^generation_parameters\.stop(?=$|\[)"), "stop_sequences"),
    (re.compile(r"^generation_parameters\."), ""),
    (re.compile(r"^response_format"), "output_config.format"),
    (re.compile(r"^(tools\[\d+\])\.parameters"), r"\1.input_schema"),
    (re.compile(r"^tool_choice\.names.*"), "tool_choice.name"),
    (re.compile(r"^messages\[.*"), "messages"),
)


class AnthropicDialect:
    """Writes `{"type": "error", "error": {"type", "message"}, "request_id"}`."""

    name = "anthropic"

    def encode_failure(self, failure: Failure) -> bytes:
        """Return the JSON body of an error answer."""
        return msgspec.json.encode(to_body(failure, request_id=failure.request_id))

    def status_of(self, failure: Failure) -> int:
        """Return the HTTP status of an error answer."""
        return to_status(failure)

    def rate_limit_headers(self, limits: RateLimits) -> dict[str, str]:
        """Return Anthropic's headers of rate limits."""
        return anthropic_headers(limits, now=time.time())


def to_status(failure: Failure) -> int:
    """Return Anthropic's status for a failure."""
    return OVERLOADED_STATUS if failure.status == 503 else failure.status


def to_body(failure: Failure, *, request_id: str | None) -> AnthropicErrorBody:
    """Return a failure in Anthropic's words."""
    detail = AnthropicErrorDetail(type=_type_of(to_status(failure)), message=_message_of(failure))
    return AnthropicErrorBody(error=detail, request_id=request_id)


def _type_of(status: int) -> str:
    if status in TYPES:
        return TYPES[status]
    return "api_error" if status >= 500 else "invalid_request_error"


def _message_of(failure: Failure) -> str:
    """Return the sentence; it names the field, because Anthropic's errors have no other place for it."""
    if failure.param is None:
        return failure.message
    if failure.param.startswith(_EXTENSIONS):
        # Nothing else in this dialect asks an engine for an extension.
        return "messages: the engine of this model can't continue a message of the assistant; end with one of the user"
    param = failure.param if failure.reason else _to_path(failure.param)
    return failure.message if param in failure.message else f"{param}: {failure.message}"


def _to_path(param: str) -> str:
    for pattern, replacement in _NATIVE_PATHS:
        if pattern.match(param):
            return pattern.sub(replacement, param)
    return param
