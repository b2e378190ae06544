"""Errors in OpenAI's shape, with its words where it has one."""

import re
from collections.abc import Callable

import msgspec

from headrace.accounts.quota.base import LimitKind
from headrace.gateway.dialects.openai.wire import OpenAIErrorBody, OpenAIErrorDetail
from headrace.gateway.failure import Failure
from headrace.gateway.rate_limits import openai_headers
from headrace.schema.caller import RateLimits
from headrace.schema.errors import ErrorCode

_CODES: dict[str, str | None] = {
    ErrorCode.INVALID_REQUEST: None,
    ErrorCode.UNAUTHORIZED: "invalid_api_key",
    ErrorCode.NOT_FOUND: "unknown_url",
    ErrorCode.METHOD_NOT_ALLOWED: "method_not_supported",
    ErrorCode.UNSUPPORTED_MEDIA_TYPE: "unsupported_content_type",
    ErrorCode.OVERLOADED: "rate_limit_exceeded",
    ErrorCode.RATE_LIMITED: "rate_limit_exceeded",
    ErrorCode.QUOTA_EXCEEDED: "insufficient_quota",
}
_TOOL_SCHEMA = re.compile(r"tools\[\d+\](\.function)?\.parameters")
_Rules = tuple[tuple[re.Pattern[str], str], ...]
# What an engine finds wrong is named by the native path; the first pattern that fits is replaced.
_SHARED: _Rules = (
    (re.compile(r"generation_parameters\.provider_extensions\.vllm\."), ""),
    # An extension that the engine does not know: no field of the client's is at fault alone.
    (re.compile(r"generation_parameters\.provider_extensions.*"), ""),
    (re.compile(r"generation_parameters\.beam_search\.width"), "n"),
    (re.compile(r"generation_parameters\.beam_search\."), ""),
    (re.compile(r"generation_parameters\.beam_search"), "use_beam_search"),
    (re.compile(r"(?:generation_parameters|output)\."), ""),
)
_CHAT: _Rules = (
    (re.compile(r"response_format\.schema"), "response_format.json_schema.schema"),
    (re.compile(r"response_format\.pattern"), "structured_outputs.regex"),
    (re.compile(r"response_format\.choices"), "structured_outputs.choice"),
    (re.compile(r"response_format\.grammar"), "structured_outputs.grammar"),
    (re.compile(r"tool_choice\.(?:names|mode|parallel).*"), "tool_choice"),
    (re.compile(r"(tools\[\d+\])\.(?=(?:name|description|parameters|strict)\b)"), r"\1.function."),
)


def to_param(path: str) -> str | None:
    """Return the field that a native path stands for in every body of OpenAI's; other paths stay as they are."""
    return _replace(path, _SHARED)


def to_chat_param(path: str) -> str | None:
    """Return the field of a chat completion that a native path stands for; other paths stay as they are."""
    return _replace(path, _SHARED + _CHAT)


def _replace(path: str, rules: _Rules) -> str | None:
    for native, own in rules:
        if match := native.match(path):
            return match.expand(own) + path[match.end() :] or None
    return path


class OpenAIDialect:
    """Writes `{"error": {"message", "type", "param", "code"}}`.

    Args:
        name_field: turns a native path into the field that the client wrote.
    """

    name = "openai"

    def __init__(self, name_field: Callable[[str], str | None] = to_chat_param) -> None:
        self._name_field = name_field

    def encode_failure(self, failure: Failure) -> bytes:
        """Return the JSON body of an error answer."""
        return msgspec.json.encode(to_body(failure, self._name_field))

    def status_of(self, failure: Failure) -> int:
        """Return the HTTP status of an error answer."""
        return failure.status

    def rate_limit_headers(self, limits: RateLimits) -> dict[str, str]:
        """Return OpenAI's headers of rate limits."""
        return openai_headers(limits)


def to_body(failure: Failure, name_field: Callable[[str], str | None] = to_param) -> OpenAIErrorBody:
    """Return a failure in OpenAI's words. A code that OpenAI has no word for keeps ours.

    Args:
        failure: what went wrong.
        name_field: turns a native path into the field that the client wrote.
    """
    param = name_field(failure.param) if failure.param else None
    return OpenAIErrorBody(
        OpenAIErrorDetail(message=failure.message, type=_type_of(failure), param=param, code=_code_of(failure, param))
    )


def _code_of(failure: Failure, param: str | None) -> str | None:
    if failure.status == 400 and param is not None and _TOOL_SCHEMA.fullmatch(param):
        return "invalid_function_parameters"
    if failure.limit == LimitKind.TOKENS_PER_MINUTE:
        # Also of a request that is larger than the whole limit: OpenAI says it of both.
        return _CODES[ErrorCode.RATE_LIMITED]
    if failure.code == ErrorCode.NOT_FOUND and param is not None:
        # The address is right, and what it asks for is not there.
        return failure.code
    return failure.reason or _CODES.get(failure.code, failure.code)


def _type_of(failure: Failure) -> str:
    # OpenAI's types for 429 are what the limit counts; a budget that is spent has one of its own.
    if failure.limit == LimitKind.TOKENS_PER_MINUTE:
        return "tokens"
    if failure.code == ErrorCode.QUOTA_EXCEEDED:
        return "insufficient_quota"
    if failure.status == 429:
        return "requests"
    return "server_error" if failure.status >= 500 else "invalid_request_error"
