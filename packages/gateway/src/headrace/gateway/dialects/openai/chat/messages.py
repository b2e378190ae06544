"""OpenAI's messages, and what they become.

Each message becomes one of ours, so that what an engine says of `messages[i]` is true of OpenAI's too.
"""

from typing import Annotated, Any, Literal, assert_never

from msgspec import Meta, Struct

from headrace.gateway.dialects.openai.chat.refusing import unsupported, unsupported_value, wrong_type
from headrace.gateway.dialects.openai.chat.signatures import ThoughtBlock, read_blocks, read_extra
from headrace.gateway.dialects.signed_ids import MAX_SIGNED_ID_CHARACTERS, read_signed_id
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.messages import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolName,
    ToolResultPart,
)

ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
_PART_TYPES: dict[Role, tuple[str, ...]] = {
    "system": ("text",),
    "user": ("text", "image_url"),
    "assistant": ("text", "refusal"),
    "tool": ("text",),
}
_ROLE_OF_FIELD: dict[str, Role] = {
    "tool_calls": "assistant",
    "refusal": "assistant",
    "reasoning": "assistant",
    "reasoning_content": "assistant",
    "thinking_blocks": "assistant",
    "extra_content": "assistant",
    "tool_call_id": "tool",
}
_DETAILS: dict[str, Literal["auto", "low", "high"]] = {"auto": "auto", "low": "low", "high": "high", "original": "high"}
REFUSED_MESSAGE_FIELDS = ("audio", "function_call")
"""Fields of a message that may be null only: clients send an answer back as they got it."""


class ImageUrl(Struct, frozen=True, kw_only=True):
    """Where an image is."""

    url: str
    detail: str | None = None


class MessagePart(Struct, frozen=True, kw_only=True):
    """A part of a message; its type says which field it has."""

    type: str
    text: str | None = None
    image_url: ImageUrl | None = None
    refusal: str | None = None
    file: Any = None
    input_audio: Any = None
    prompt_cache_breakpoint: Any = None


class CalledFunction(Struct, frozen=True, kw_only=True):
    """What a call says."""

    name: ToolName
    arguments: str


class MessageToolCall(Struct, frozen=True, kw_only=True):
    """A call that the assistant made, sent back; `index` is what a stream put into it."""

    id: Annotated[str, Meta(min_length=1, max_length=MAX_SIGNED_ID_CHARACTERS)]
    type: str = "function"
    function: CalledFunction | None = None
    custom: Any = None
    index: Any = None
    extra_content: dict[str, Any] | None = None


class ChatMessage(Struct, frozen=True, kw_only=True):
    """A message as clients send it."""

    role: str
    content: str | Annotated[tuple[MessagePart, ...], Meta(min_length=1)] | None = None
    name: Annotated[str, Meta(max_length=256)] | None = None
    annotations: Any = None
    audio: Any = None
    extra_content: dict[str, Any] | None = None
    function_call: Any = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: str | None = None
    thinking_blocks: tuple[ThoughtBlock, ...] | None = None
    tool_call_id: str | None = None
    tool_calls: tuple[MessageToolCall, ...] | None = None


def to_messages(messages: tuple[ChatMessage, ...]) -> tuple[Message, ...]:
    """Return the conversation.

    Raises:
        HeadraceError: `invalid_request` or `unsupported_parameter`, naming the field.
    """
    found = tuple(_to_message(message, f"messages[{i}]") for i, message in enumerate(messages))
    _check_calls_are_answered(messages)
    return found


def _to_message(message: ChatMessage, path: str) -> Message:
    role = _role_of(message, path)
    match role:
        case "system" | "user":
            return Message(role=role, content=_to_content(message, role, path), name=message.name)
        case "tool":
            return Message(role=role, content=(_to_tool_result(message, path),), name=message.name)
        case "assistant":
            return Message(role=role, content=_to_answer(message, path), name=message.name)
        case _:
            assert_never(role)


def _role_of(message: ChatMessage, path: str) -> Role:
    role = ROLES.get(message.role)
    if role is None:
        advice = "; answer tool calls by role 'tool'" if message.role == "function" else ""
        raise unsupported_value(f"{path}.role", message.role, list(ROLES), advice=advice)
    for name in REFUSED_MESSAGE_FIELDS:
        if getattr(message, name):
            raise unsupported(f"{path}.{name}")
    for name, owner in _ROLE_OF_FIELD.items():
        if getattr(message, name) and role != owner:
            text = f"'{path}.{name}' is only allowed in a message of role '{owner}'"
            raise RequestRefusedError(text, reason="invalid_value", param=f"{path}.{name}")
    return role


def _to_content(message: ChatMessage, role: Role, path: str) -> str | tuple[TextPart | ImagePart, ...]:
    if message.content is None:
        raise wrong_type(f"{path}.content", "a string or an array")
    if isinstance(message.content, str):
        return message.content
    return tuple(_to_part(part, role, f"{path}.content[{i}]") for i, part in enumerate(message.content))


def _to_part(part: MessagePart, role: Role, path: str) -> TextPart | ImagePart:
    if part.type not in _PART_TYPES[role]:
        raise unsupported_value(f"{path}.type", part.type, _PART_TYPES[role], advice=f" for the role '{role}'")
    if part.type == "image_url":
        return _to_image(part.image_url, f"{path}.image_url")
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise wrong_type(f"{path}.{part.type}", "a string")
    return TextPart(text)


def _to_image(image: ImageUrl | None, path: str) -> ImagePart:
    if image is None:
        raise wrong_type(path, "an object")
    if not image.url.startswith(("data:image/", "https://", "http://")):
        text = f"'{path}.url' must be a data: URL of an image or an https: URL"
        raise RequestRefusedError(text, reason="invalid_value", param=f"{path}.url")
    if image.detail is None:
        return ImagePart(url=image.url)
    detail = _DETAILS.get(image.detail)
    if detail is None:
        raise unsupported_value(f"{path}.detail", image.detail, list(_DETAILS))
    return ImagePart(url=image.url, detail=detail)


def _to_tool_result(message: ChatMessage, path: str) -> ToolResultPart:
    if not message.tool_call_id:
        param = f"{path}.tool_call_id"
        raise RequestRefusedError(f"'{param}' is missing", reason="missing_required_parameter", param=param)
    call_id = read_signed_id(message.tool_call_id).id
    return ToolResultPart(tool_call_id=call_id, content=_to_content(message, "tool", path))


def _to_answer(message: ChatMessage, path: str) -> str | tuple[Part, ...]:
    """Return what an assistant said: what it thought, then its text, then its calls."""
    thought = message.reasoning_content or message.reasoning
    blocks = message.thinking_blocks or ()
    thoughts = read_blocks(blocks, thought) if blocks else ((ReasoningPart(thought),) if thought else ())
    signature = read_extra(message.extra_content, f"{path}.extra_content")
    calls = tuple(_to_call(call, f"{path}.tool_calls[{i}]") for i, call in enumerate(message.tool_calls or ()))
    said = _to_text(message, path, may_be_null=bool(calls))
    if not calls and not thoughts and signature is None:
        return said
    texts = [part for part in ((TextPart(said),) if isinstance(said, str) else said) if isinstance(part, TextPart)]
    texts = [part for part in texts if part.text]
    if signature is not None:
        last = texts.pop().text if texts else ""
        texts.append(TextPart(last, signature.value, signature.signed_by))
    return (*thoughts, *texts, *calls)


def _to_text(message: ChatMessage, path: str, *, may_be_null: bool) -> str | tuple[TextPart | ImagePart, ...]:
    if message.content is not None:
        return _to_content(message, "assistant", path)
    if message.refusal is None and not may_be_null:
        raise wrong_type(f"{path}.content", "a string or an array, unless there are 'tool_calls'")
    return message.refusal or ""


def _to_call(call: MessageToolCall, path: str) -> ToolCallPart:
    if call.type != "function":
        raise unsupported_value(f"{path}.type", call.type, ["function"])
    if call.function is None:
        raise wrong_type(f"{path}.function", "an object")
    signed = read_signed_id(call.id)
    signature = read_extra(call.extra_content, f"{path}.extra_content") or signed.signature
    return ToolCallPart(
        id=signed.id,
        name=call.function.name,
        arguments=call.function.arguments,
        signature=None if signature is None else signature.value,
        signed_by=None if signature is None else signature.signed_by,
    )


def _check_calls_are_answered(messages: tuple[ChatMessage, ...]) -> None:
    """Check that each message of role `tool` answers a call, and that each call is answered at once."""
    made: set[str] = set()
    open_calls: dict[str, int] = {}
    for i, message in enumerate(messages):
        if message.role == "tool":
            if message.tool_call_id not in made:
                param = f"messages[{i}].{'tool_call_id' if made else 'role'}"
                text = f"'{param}': a message of role 'tool' must answer one of the 'tool_calls' right before it"
                raise RequestRefusedError(text, reason="invalid_value", param=param)
            open_calls.pop(message.tool_call_id, None)
            continue
        _refuse_open_calls(open_calls)
        made = {call.id for call in message.tool_calls or ()}
        open_calls = dict.fromkeys(made, i)
    _refuse_open_calls(open_calls)


def _refuse_open_calls(open_calls: dict[str, int]) -> None:
    if open_calls:
        call_id, i = next(iter(sorted(open_calls.items())))
        text = f"'messages[{i}].tool_calls' must be followed by a message of role 'tool' for '{call_id[:64]}'"
        raise RequestRefusedError(text, reason="invalid_value", param=f"messages[{i}].tool_calls")
