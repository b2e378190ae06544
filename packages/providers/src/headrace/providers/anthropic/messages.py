"""Our messages in Anthropic's words: what the system says stands beside them, and results are the user's."""

import re
from typing import Any, Literal, assert_never

from headrace.providers.anthropic.signatures import signature_of
from headrace.providers.arguments import write_arguments
from headrace.providers.failing import Complaints
from headrace.providers.images import read_data_url
from headrace.schema.messages import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

_THEIR_CALL, _OUR_CALL = "toolu_", "call_"
_NOT_IN_IDS = re.compile(r"[^a-zA-Z0-9_-]")

Turn = Literal["user", "assistant"]


def write_system(messages: tuple[Message, ...]) -> str:
    """Return what the system says, wherever it says it, in one text."""
    return "\n\n".join([text for message in messages if message.role == "system" and (text := message.to_text())])


def write_messages(messages: tuple[Message, ...], complaints: Complaints) -> list[dict[str, Any]]:
    """Return the conversation without the system's words. Neighbours of one role become one turn.

    Raises:
        ProviderError: a message holds what can't be said in Anthropic's words.
    """
    turns: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        if message.role == "system":
            continue
        role: Turn = "assistant" if message.role == "assistant" else "user"
        blocks = [
            block
            for j, part in enumerate(message.parts)
            if (block := _write_part(part, f"messages[{i}].content[{j}]", complaints)) is not None
        ]
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    return turns


def _write_part(part: Part, path: str, complaints: Complaints) -> dict[str, Any] | None:
    match part:
        case TextPart():
            # Anthropic refuses an empty text.
            return {"type": "text", "text": part.text} if part.text else None
        case ImagePart():
            return _write_image(part, path, complaints)
        case ReasoningPart():
            return _write_thought(part)
        case ToolCallPart():
            input_ = write_arguments(part.arguments, path, complaints)
            return {"type": "tool_use", "id": to_tool_use_id(part.id), "name": part.name, "input": input_}
        case ToolResultPart():
            return _write_result(part, path, complaints)
        case _:
            assert_never(part)


def _write_thought(part: ReasoningPart) -> dict[str, Any] | None:
    """Return a thought that Anthropic signed; it takes no other."""
    signature = signature_of(part)
    if signature is None:
        return None
    if part.is_redacted:
        return {"type": "redacted_thinking", "data": signature}
    return {"type": "thinking", "thinking": part.text, "signature": signature}


def _write_result(part: ToolResultPart, path: str, complaints: Complaints) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "tool_result", "tool_use_id": to_tool_use_id(part.tool_call_id)}
    if isinstance(part.content, str):
        content: Any = part.content
    else:
        written = [_write_part(item, path, complaints) for item in part.content]
        content = [item for item in written if item is not None]
    if content:
        block["content"] = content
    if part.is_error:
        block["is_error"] = True
    return block


def _write_image(part: ImagePart, path: str, complaints: Complaints) -> dict[str, Any]:
    if not part.url.startswith("data:"):
        return {"type": "image", "source": {"type": "url", "url": part.url}}
    image = read_data_url(part.url)
    if image is None:
        raise complaints.invalid(f"{path}: the image must be in base64, with its type", path)
    source = {"type": "base64", "media_type": image.media_type, "data": image.data}
    return {"type": "image", "source": source}


def to_tool_use_id(call_id: str) -> str:
    """Return an id of a call in the characters that Anthropic allows: that of another vendor may have others.

    Our own dialect of this API has read Anthropic's ids as ours: here they are Anthropic's again.
    """
    theirs = _THEIR_CALL + call_id.removeprefix(_OUR_CALL) if call_id.startswith(_OUR_CALL) else call_id
    return _NOT_IN_IDS.sub("_", theirs)
