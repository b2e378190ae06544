"""From the bytes of OpenAI's body to a request.

Each field is one of four: supported; ignored, since it changes nothing in the answer; known but not supported yet,
which is fine as long as it asks for nothing; or unknown. The last two are refused by name, because a client that is
silently not given what it asked for finds out too late.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.dialects.openai.chat.stream import OpenAIRendering
from headrace.gateway.dialects.openai.chat.wire import (
    IGNORED_FIELDS,
    UNSUPPORTED_FIELDS,
    UNSUPPORTED_MESSAGE_FIELDS,
    ChatCompletionBody,
    ChatMessage,
    MessagePart,
)
from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.strict import StrictReader, decode_object
from headrace.schema.checks import check_request
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.messages import Message, Role, TextPart
from headrace.schema.request import ChatCompletionRequest, GenerationParameters

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_SHOWN_LENGTH = 32


class OpenAIParser:
    """Reads bodies of chat completions."""

    def __init__(self) -> None:
        self._reader = StrictReader(ChatCompletionBody)

    def parse(self, body: bytes) -> ParsedCall:
        """Return what the body asks for.

        Raises:
            HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
        """
        fields = decode_object(body)
        refuse_unsupported(fields)
        passed_over = IGNORED_FIELDS | UNSUPPORTED_FIELDS.keys()
        wire = self._reader.read({name: value for name, value in fields.items() if name not in passed_over})
        if wire.stream_options is not None and not wire.stream:
            raise RequestRefusedError(
                "'stream_options' is only allowed when 'stream' is true", reason="invalid_value", param="stream_options"
            )
        request = to_request(wire)
        check_request(request)
        include_usage = wire.stream_options is not None and wire.stream_options.include_usage is True
        return ParsedCall(
            request=request, rendering=partial(OpenAIRendering, include_usage=include_usage), stream=wire.stream is True
        )


def refuse_unsupported(fields: Mapping[str, Any]) -> None:
    """Refuse a field that asks for what we lack.

    Raises:
        HeadraceError: `unsupported_parameter`.
    """
    for name, harmless in UNSUPPORTED_FIELDS.items():
        value = fields.get(name)
        # 0 == False in Python, and neither is the other here.
        if value is not None and not any(type(value) is type(item) and value == item for item in harmless):
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, f"'{name}' is not supported yet", param=name)


def to_request(wire: ChatCompletionBody) -> ChatCompletionRequest:
    """Return the request that a body asks for.

    Raises:
        HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
    """
    stop = wire.stop or ()
    return ChatCompletionRequest(
        model=wire.model,
        messages=tuple(_to_message(message, f"messages[{i}]") for i, message in enumerate(wire.messages)),
        generation_parameters=GenerationParameters(
            temperature=wire.temperature,
            top_p=wire.top_p,
            # vLLM's word for all is -1.
            top_k=0 if wire.top_k == -1 else wire.top_k,
            min_p=wire.min_p,
            max_tokens=_max_tokens_of(wire),
            n=wire.n or 1,
            stop=(stop,) if isinstance(stop, str) else stop,
            seed=wire.seed,
            presence_penalty=wire.presence_penalty,
            frequency_penalty=wire.frequency_penalty,
            repetition_penalty=wire.repetition_penalty,
        ),
    )


def _max_tokens_of(wire: ChatCompletionBody) -> int | None:
    old, new = wire.max_tokens, wire.max_completion_tokens
    if old is not None and new is not None and old != new:
        message = "'max_tokens' and 'max_completion_tokens' mean the same, and have different values"
        raise RequestRefusedError(message, reason="invalid_value", param="max_tokens")
    return old if new is None else new


def _to_message(message: ChatMessage, path: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise _unsupported_value(f"{path}.role", message.role, list(_ROLES))
    for name in UNSUPPORTED_MESSAGE_FIELDS:
        if getattr(message, name) not in (None, [], ""):
            param = f"{path}.{name}"
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, f"'{param}' is not supported yet", param=param)
    if message.content is None:
        param = f"{path}.content"
        raise RequestRefusedError(f"'{param}' must be a string or an array", reason="invalid_type", param=param)
    if isinstance(message.content, str):
        return Message(role=role, content=message.content, name=message.name)
    parts = tuple(_to_part(part, f"{path}.content[{i}]") for i, part in enumerate(message.content))
    return Message(role=role, content=parts, name=message.name)


def _to_part(part: MessagePart, path: str) -> TextPart:
    if part.type != "text":
        raise _unsupported_value(f"{path}.type", part.type, ["text"])
    if part.text is None:
        raise RequestRefusedError(f"'{path}.text' must be a string", reason="invalid_type", param=f"{path}.text")
    return TextPart(text=part.text)


def _unsupported_value(param: str, value: str, supported: list[str]) -> RequestRefusedError:
    message = f"'{param}': '{value[:_SHOWN_LENGTH]}' is not supported yet; supported: {', '.join(supported)}"
    return RequestRefusedError(message, reason="unsupported_value", param=param, code=ErrorCode.UNSUPPORTED_PARAMETER)
