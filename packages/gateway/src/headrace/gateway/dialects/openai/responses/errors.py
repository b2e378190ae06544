"""Errors of the Responses API: OpenAI's shape, with the names that its fields have here."""

import re

import msgspec
from msgspec import structs

from headrace.gateway.dialects.openai.errors import OpenAIDialect, to_body, to_param
from headrace.gateway.dialects.openai.wire import OpenAIErrorBody
from headrace.gateway.failure import Failure, RequestRefusedError
from headrace.schema.errors import ErrorCode, HeadraceError

_RESPONSE_ID = "response_id"
_SHOWN_LENGTH = 128
# What an engine finds wrong is named by the native path.
_FIELDS = (
    (re.compile(r"(?:messages|prompts)\b.*"), "input"),
    (re.compile(r"generation_parameters\.max_tokens"), "max_output_tokens"),
    (re.compile(r"generation_parameters\.provider_extensions\.vllm\.chat_template_kwargs\b.*"), "reasoning"),
    (re.compile(r"response_format"), "text.format"),
    (re.compile(r"tool_choice\.(?:names|mode|parallel).*"), "tool_choice"),
)


class ResponsesDialect(OpenAIDialect):
    """Writes `{"error": {"message", "type", "param", "code"}}`."""

    def encode_failure(self, failure: Failure) -> bytes:
        """Return the JSON body of an error answer."""
        return msgspec.json.encode(to_error(failure))


def to_error(failure: Failure) -> OpenAIErrorBody:
    """Return a failure in OpenAI's words."""
    # What has a finer reason was found wrong here, and has our own names already.
    body = to_body(failure, to_field if failure.reason is None else str)
    if failure.code == ErrorCode.NOT_FOUND and failure.param is not None:
        # OpenAI has no code for a response that is not there; the one of the shape is for unknown paths.
        param = None if failure.param == _RESPONSE_ID else body.error.param
        return OpenAIErrorBody(structs.replace(body.error, code=None, param=param))
    return body


def to_field(path: str) -> str | None:
    """Return the field of a body that a native path stands for; other paths stay as they are."""
    for pattern, name in _FIELDS:
        if match := pattern.match(path):
            return name + path[match.end() :]
    return to_param(path)


def unknown_response(response_id: str) -> HeadraceError:
    """Return the failure of a call about a response that is not kept here."""
    message = f"Response with id '{response_id[:_SHOWN_LENGTH]}' not found."
    return HeadraceError(ErrorCode.NOT_FOUND, message, param=_RESPONSE_ID)


def unknown_previous(response_id: str) -> HeadraceError:
    """Return the failure of a call that goes on from a response that is not kept here."""
    message = f"Previous response with id '{response_id[:_SHOWN_LENGTH]}' not found."
    return RequestRefusedError(message, reason="previous_response_not_found", param="previous_response_id")


def unfinished_previous(response_id: str) -> HeadraceError:
    """Return the failure of a call that goes on from a response without an answer."""
    message = f"the response '{response_id[:_SHOWN_LENGTH]}' has no answer to go on from: it is not completed"
    return RequestRefusedError(message, reason="invalid_value", param="previous_response_id")


def unknown_item(item_id: str) -> HeadraceError:
    """Return the failure of a call that refers to an item which is not kept here."""
    message = f"Item with id '{item_id[:_SHOWN_LENGTH]}' not found: items of responses with 'store' false are not kept."
    return HeadraceError(ErrorCode.NOT_FOUND, message, param="input")


def stream_not_kept() -> HeadraceError:
    """Return the failure of a call for the stream of a response whose events are not kept."""
    message = "the events of this response are not kept, or no more: retrieve it without 'stream'"
    return RequestRefusedError(message, reason="unsupported_value", param="stream")


def not_in_background() -> HeadraceError:
    """Return the failure of the cancellation of a response whose client waits for it."""
    message = "Cannot cancel a synchronous response: close its connection, or create it with 'background'."
    return RequestRefusedError(message, reason="invalid_value", param=_RESPONSE_ID)
