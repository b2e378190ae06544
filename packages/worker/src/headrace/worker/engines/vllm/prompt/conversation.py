"""Messages in the form that chat templates know: that of OpenAI's chat completions."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.messages import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    join_text,
)
from headrace.schema.tools import Tool

# One message of a conversation, as a template sees it.
ChatMessage = dict[str, Any]

_ERROR_MARK = "Error: "


class ImageRules(Struct, frozen=True):
    """Which images a model takes.

    Attributes:
        can_see: whether it takes images at all.
        allowed_hosts: hosts that images may be fetched from; without any, only `data:` URLs are taken.
    """

    can_see: bool = False
    allowed_hosts: frozenset[str] = frozenset()


def write_conversation(messages: Sequence[Message], images: ImageRules) -> list[ChatMessage]:
    """Return the conversation for a chat template.

    Raises:
        HeadraceError: `invalid_request`: an image that this model, or this worker, does not take.
    """
    names = {part.id: part.name for message in messages for part in message.parts if isinstance(part, ToolCallPart)}
    conversation: list[ChatMessage] = []
    for i, message in enumerate(messages):
        _check_images(message, images, f"messages[{i}].content")
        conversation.extend(_write_message(message, names))
    return conversation


def has_images(messages: Sequence[Message]) -> bool:
    """Tell whether there is an image in them."""
    return any(
        isinstance(part, ImagePart)
        or (isinstance(part, ToolResultPart) and any(isinstance(inner, ImagePart) for inner in part.content))
        for message in messages
        if not isinstance(message.content, str)
        for part in message.content
    )


def write_tools(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """Return tools for a chat template."""
    return [{"type": "function", "function": _write_function(tool)} for tool in tools]


def _write_function(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.parameters if tool.parameters is not None else {"type": "object", "properties": {}}
    return function


def _check_images(message: Message, rules: ImageRules, path: str) -> None:
    if isinstance(message.content, str):
        return
    for j, part in enumerate(message.content):
        match part:
            case ImagePart():
                _check_image(part, rules, f"{path}[{j}]")
            case ToolResultPart(content=tuple() as inner):
                for image in inner:
                    if isinstance(image, ImagePart):
                        _check_image(image, rules, f"{path}[{j}]")
            case _:
                continue


def _check_image(image: ImagePart, rules: ImageRules, path: str) -> None:
    if not rules.can_see:
        raise HeadraceError(ErrorCode.INVALID_REQUEST, "this model takes text only, and no images", param=path)
    if image.url.startswith("data:image/"):
        return
    parts = urlsplit(image.url)
    if parts.scheme != "https" or parts.hostname not in rules.allowed_hosts:
        message = "an image must be a data: URL, or come by https from a host that this model's settings allow"
        raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param=path)


def _write_message(message: Message, names: dict[str, str]) -> list[ChatMessage]:
    if message.role == "tool":
        return [_write_result(part, names) for part in message.parts if isinstance(part, ToolResultPart)]
    written: ChatMessage = {"role": message.role, "content": _write_content(message.parts)}
    if message.name is not None:
        written["name"] = message.name
    if message.role == "assistant":
        _add_assistant_parts(written, message.parts)
    return [written]


def _write_content(parts: Sequence[Part]) -> str | list[dict[str, Any]]:
    if not any(isinstance(part, ImagePart) for part in parts):
        return join_text(tuple(parts))
    return [_write_part(part) for part in parts if isinstance(part, TextPart | ImagePart)]


def _write_part(part: TextPart | ImagePart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    image: dict[str, Any] = {"url": part.url}
    if part.detail is not None:
        image["detail"] = part.detail
    return {"type": "image_url", "image_url": image}


def _add_assistant_parts(written: ChatMessage, parts: Sequence[Part]) -> None:
    reasoning = "".join(part.text for part in parts if isinstance(part, ReasoningPart))
    if reasoning:
        written["reasoning"] = reasoning
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    if calls:
        written["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ]


def _write_result(part: ToolResultPart, names: dict[str, str]) -> ChatMessage:
    content = part.content if isinstance(part.content, str) else _write_content(part.content)
    if part.is_error and isinstance(content, str):
        content = f"{_ERROR_MARK}{content}"
    written: ChatMessage = {"role": "tool", "tool_call_id": part.tool_call_id, "content": content}
    if (name := names.get(part.tool_call_id)) is not None:
        # Some templates tell results by the tool's name, and not by the call's id.
        written["name"] = name
    return written
