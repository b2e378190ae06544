"""From Anthropic's messages to ours.

Anthropic has two roles where we have four: the system's words stand beside the messages (or among them, in its newest
version), and what tools answered is part of what the user says next.
"""

from collections.abc import Sequence
from typing import assert_never

import msgspec

from headrace.gateway.dialects.anthropic.content import (
    Base64Source,
    ContentBlock,
    ImageBlock,
    MessageParam,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolResultBlock,
    ToolUseBlock,
)
from headrace.gateway.dialects.anthropic.ids import HOME, read_tool_use_id
from headrace.gateway.dialects.signing import read_signature, to_thought
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.messages import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

_BLOCKS_OF_ROLE: dict[str, tuple[type, ...]] = {
    "user": (TextBlock, ImageBlock, ToolResultBlock),
    "assistant": (TextBlock, ThinkingBlock, RedactedThinkingBlock, ToolUseBlock),
    "system": (TextBlock,),
}


def to_system(system: str | Sequence[TextBlock] | None) -> tuple[Message, ...]:
    """Return the message of role system, if there is one."""
    if not system:
        return ()
    if isinstance(system, str):
        return (Message("system", system),)
    return (Message("system", tuple(TextPart(block.text) for block in system)),)


def to_messages(messages: Sequence[MessageParam]) -> tuple[Message, ...]:
    """Return the conversation.

    Raises:
        RequestRefusedError: naming the block that is out of place.
    """
    return tuple(part for i, message in enumerate(messages) for part in _to_messages(message, f"messages[{i}]"))


def _to_messages(message: MessageParam, path: str) -> tuple[Message, ...]:
    if message.role == "user" and not message.content:
        raise refuse_value(f"{path}.content", "a message of role user must not be empty")
    if isinstance(message.content, str):
        return (Message(message.role, message.content),)
    _check_blocks(message.role, message.content, path)
    results = tuple(_to_result(block) for block in message.content if isinstance(block, ToolResultBlock))
    rest = message.content[len(results) :]
    parts = tuple(part for block in rest if (part := _to_part(block)) is not None)
    answered = (Message("tool", results),) if results else ()
    return answered if answered and not parts else (*answered, Message(message.role, parts))


def _check_blocks(role: str, blocks: Sequence[ContentBlock], path: str) -> None:
    allowed = _BLOCKS_OF_ROLE[role]
    has_other = False
    for j, block in enumerate(blocks):
        place = f"{path}.content[{j}]"
        kind = block.__struct_config__.tag
        if not isinstance(block, allowed):
            raise refuse_value(place, f"a message of role {role} can't hold a {kind} block")
        if isinstance(block, TextBlock) and block.citations and role != "assistant":
            raise refuse_value(f"{place}.citations", "only text of the assistant has citations")
        if isinstance(block, ToolResultBlock) and has_other:
            raise refuse_value(place, "tool_result blocks must come before all other blocks of their message")
        has_other = has_other or not isinstance(block, ToolResultBlock)


def _to_part(block: ContentBlock) -> Part | None:
    """Return the part that a block is, or None for one that is a message of its own, or says nothing."""
    match block:
        case TextBlock():
            return TextPart(block.text)
        case ImageBlock():
            return to_image(block)
        case ThinkingBlock():
            return to_thought(block.thinking, read_signature(block.signature, home=HOME))
        case RedactedThinkingBlock():
            signature = read_signature(block.data, home=HOME)
            return ReasoningPart("", signature.value, signature.signed_by, is_redacted=True) if signature else None
        case ToolUseBlock():
            return _to_call(block)
        case ToolResultBlock():
            return None
        case _:
            assert_never(block)


def _to_call(block: ToolUseBlock) -> ToolCallPart:
    signed = read_tool_use_id(block.id)
    return ToolCallPart(
        id=signed.id,
        name=block.name,
        arguments=msgspec.json.encode(block.input).decode(),
        signature=None if signed.signature is None else signed.signature.value,
        signed_by=None if signed.signature is None else signed.signature.signed_by,
    )


def to_image(block: ImageBlock) -> ImagePart:
    """Return an image by its URL."""
    source = block.source
    if isinstance(source, Base64Source):
        return ImagePart(url=f"data:{source.media_type};base64,{source.data}")
    return ImagePart(url=source.url)


def _to_result(block: ToolResultBlock) -> ToolResultPart:
    content = block.content or ""
    if not isinstance(content, str):
        content = tuple(TextPart(item.text) if isinstance(item, TextBlock) else to_image(item) for item in content)
    return ToolResultPart(
        tool_call_id=read_tool_use_id(block.tool_use_id).id, content=content, is_error=block.is_error is True
    )


def refuse_value(param: str, problem: str) -> RequestRefusedError:
    """Return the refusal of a value that is not allowed where it stands."""
    return RequestRefusedError(f"{param}: {problem}", reason="invalid_value", param=param)
