"""Errors in OpenAI's words, whatever was found wrong and by whom."""

import msgspec
import openai
import pytest

from headrace.accounts.quota.base import LimitKind
from headrace.accounts.quota.refusal import QuotaRefusedError
from headrace.gateway.dialects.openai.errors import OpenAIDialect, to_body, to_param
from headrace.gateway.failure import Failure, failure_of_code, failure_of_error
from headrace.schema.caller import RateLimits
from headrace.schema.errors import ErrorCode

PARAMS: list[tuple[str, str | None]] = [
    ("messages", "messages"),
    ("messages[2].content[1]", "messages[2].content[1]"),
    ("generation_parameters.max_tokens", "max_tokens"),
    ("generation_parameters.beam_search.width", "n"),
    ("generation_parameters.beam_search.length_penalty", "length_penalty"),
    ("generation_parameters.beam_search", "use_beam_search"),
    ("generation_parameters.provider_extensions.vllm.stop_token_ids[0]", "stop_token_ids[0]"),
    ("generation_parameters.provider_extensions.vllm", None),
    ("generation_parameters.provider_extensions.other", None),
    ("output.top_logprobs", "top_logprobs"),
    ("tools[0].parameters", "tools[0].function.parameters"),
    ("tools[12].name", "tools[12].function.name"),
    ("tools[0].function.name", "tools[0].function.name"),
    ("tools", "tools"),
    ("tool_choice.names[0]", "tool_choice"),
    ("tool_choice.allowed_tools.mode", "tool_choice.allowed_tools.mode"),
    ("response_format", "response_format"),
    ("response_format.type", "response_format.type"),
    ("response_format.schema", "response_format.json_schema.schema"),
    ("response_format.json_schema.schema", "response_format.json_schema.schema"),
    ("response_format.pattern", "structured_outputs.regex"),
    ("Headrace-Priority", "Headrace-Priority"),
]


@pytest.mark.parametrize(("native", "own"), PARAMS)
def test_fields_are_named_as_the_client_wrote_them(native: str, own: str | None) -> None:
    body = OpenAIDialect().encode_failure(failure_of_code(ErrorCode.INVALID_REQUEST, "wrong", param=native))
    assert msgspec.json.decode(body)["error"]["param"] == own


def test_what_all_bodies_share_is_named_without_the_words_of_chats() -> None:
    assert to_param("generation_parameters.max_tokens") == "max_tokens"
    assert to_param("tools[0].parameters") == "tools[0].parameters"
    failure = failure_of_code(ErrorCode.INVALID_REQUEST, "wrong", param="tools[0].parameters")
    assert to_body(failure).error.param == "tools[0].parameters"


@pytest.mark.parametrize(
    ("code", "kind", "own"),
    [
        (ErrorCode.INVALID_REQUEST, "invalid_request_error", None),
        (ErrorCode.UNSUPPORTED_PARAMETER, "invalid_request_error", "unsupported_parameter"),
        (ErrorCode.CONTEXT_LENGTH_EXCEEDED, "invalid_request_error", "context_length_exceeded"),
        (ErrorCode.UNAUTHORIZED, "invalid_request_error", "invalid_api_key"),
        (ErrorCode.NOT_FOUND, "invalid_request_error", "unknown_url"),
        (ErrorCode.MODEL_NOT_FOUND, "invalid_request_error", "model_not_found"),
        (ErrorCode.METHOD_NOT_ALLOWED, "invalid_request_error", "method_not_supported"),
        (ErrorCode.UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", "unsupported_content_type"),
        (ErrorCode.OVERLOADED, "requests", "rate_limit_exceeded"),
        (ErrorCode.ENGINE_ERROR, "server_error", "engine_error"),
    ],
)
def test_types_and_codes(code: ErrorCode, kind: str, own: str | None) -> None:
    error = to_body(failure_of_code(code, "wrong")).error
    assert (error.type, error.code, error.param) == (kind, own, None)


@pytest.mark.parametrize(
    ("limit", "code", "kind", "own"),
    [
        (LimitKind.CONCURRENT, ErrorCode.RATE_LIMITED, "requests", "rate_limit_exceeded"),
        (LimitKind.REQUESTS_PER_MINUTE, ErrorCode.RATE_LIMITED, "requests", "rate_limit_exceeded"),
        (LimitKind.TOKENS_PER_MINUTE, ErrorCode.RATE_LIMITED, "tokens", "rate_limit_exceeded"),
        # Larger than the whole limit.
        (LimitKind.TOKENS_PER_MINUTE, ErrorCode.QUOTA_EXCEEDED, "tokens", "rate_limit_exceeded"),
        (LimitKind.TOKENS_PER_DAY, ErrorCode.QUOTA_EXCEEDED, "insufficient_quota", "insufficient_quota"),
        (LimitKind.TOKENS_PER_MONTH, ErrorCode.QUOTA_EXCEEDED, "insufficient_quota", "insufficient_quota"),
        (LimitKind.COST_PER_MONTH, ErrorCode.QUOTA_EXCEEDED, "insufficient_quota", "insufficient_quota"),
    ],
)
def test_a_limit_says_what_it_counts(limit: LimitKind, code: ErrorCode, kind: str, own: str) -> None:
    refusal = QuotaRefusedError(code, "too much", kind=limit, rate_limits=RateLimits())
    error = to_body(failure_of_error(refusal)).error
    assert (error.type, error.code) == (kind, own)


def test_what_is_not_there_is_no_unknown_address() -> None:
    error = to_body(failure_of_code(ErrorCode.NOT_FOUND, "nobody", param="key")).error
    assert (error.type, error.code, error.param) == ("invalid_request_error", "not_found", "key")


@pytest.mark.parametrize("param", ["tools[0].parameters", "tools[3].function.parameters"])
def test_a_bad_schema_of_a_tool_has_a_code_of_its_own(param: str) -> None:
    failure = Failure(
        code=ErrorCode.INVALID_REQUEST, message="wrong", retryable=False, param=param, reason="invalid_value"
    )
    assert to_body(failure).error.code == "invalid_function_parameters"


def test_the_official_client_reads_it() -> None:
    body = to_body(failure_of_code(ErrorCode.CONTEXT_LENGTH_EXCEEDED, "too long", param="messages"))
    error = openai.types.shared.ErrorObject.model_validate(msgspec.to_builtins(body.error), strict=True)
    assert (error.code, error.param, error.type) == ("context_length_exceeded", "messages", "invalid_request_error")
