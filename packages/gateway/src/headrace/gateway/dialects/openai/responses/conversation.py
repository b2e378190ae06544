"""From items to messages.

An assistant's turn is one message for us and several items here: what it thought, said and called follow each other.
"""

from collections.abc import Iterable, Sequence
from typing import assert_never

from headrace.gateway.dialects.openai.responses.items import (
    ContentPart,
    ConversationItem,
    FunctionCallItem,
    FunctionCallOutputItem,
    InputImage,
    InputText,
    MessageItem,
    OutputText,
    ReasoningItem,
    Refusal,
)
from headrace.gateway.dialects.signed_ids import read_signed_id
from headrace.gateway.dialects.signing import read_sealed, to_thought
from headrace.gateway.failure import RequestRefusedError
from headrace.schema.messages import (
    ImagePart,
    Message,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)

HOME = "openai"
"""Whose signatures stand in this dialect as they are."""

_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


def check_items(items: Sequence[ConversationItem], path: str = "input") -> None:
    """Check that each message holds what its role may say.

    Raises:
        RequestRefusedError: naming the part.
    """
    for i, item in enumerate(items):
        if not isinstance(item, MessageItem) or isinstance(item.content, str):
            continue
        for j, part in enumerate(item.content):
            if isinstance(part, InputImage) and item.role != "user":
                _refuse(f"{path}[{i}].content[{j}]", item.role, "input_image")
            if isinstance(part, OutputText | Refusal) and item.role != "assistant":
                _refuse(f"{path}[{i}].content[{j}]", item.role, str(part.__struct_config__.tag))


def _refuse(param: str, role: str, kind: str) -> None:
    message = f"'{param}': a message of the role {role} can't hold '{kind}'"
    raise RequestRefusedError(message, reason="invalid_value", param=param)


def to_messages(items: Iterable[ConversationItem], *, instructions: str | None) -> tuple[Message, ...]:
    """Return the conversation.

    Args:
        items: oldest first; those of an assistant that follow each other are one turn.
        instructions: said before all of them.
    """
    messages = [] if instructions is None else [Message(role="system", content=instructions)]
    turn = _Turn(messages)
    for item in items:
        match item:
            case MessageItem(role="assistant"):
                turn.say(_to_parts(item.content))
            case MessageItem():
                turn.close()
                messages.append(Message(role=_ROLES[item.role], content=_to_content(item.content)))
            case ReasoningItem():
                text = "".join([part.text for part in item.content or ()])
                turn.think(to_thought(text, read_sealed(item.encrypted_content or "", home=HOME)))
            case FunctionCallItem():
                turn.call(_to_call(item))
            case FunctionCallOutputItem():
                turn.close()
                messages.append(Message(role="tool", content=(_to_result(item),)))
            case _:
                assert_never(item)
    turn.close()
    return tuple(messages)


class _Turn:
    """An assistant's turn while it grows."""

    def __init__(self, messages: list[Message]) -> None:
        self._messages = messages
        self._parts: list[Part] = []

    def think(self, thought: ReasoningPart) -> None:
        if any(not isinstance(part, ReasoningPart) for part in self._parts):
            self.close()
        if thought.text or thought.signature:
            self._parts.append(thought)

    def say(self, parts: Sequence[Part]) -> None:
        if any(not isinstance(part, ReasoningPart) for part in self._parts):
            self.close()
        self._parts += parts

    def call(self, part: ToolCallPart) -> None:
        self._parts.append(part)

    def close(self) -> None:
        if self._parts:
            self._messages.append(Message(role="assistant", content=tuple(self._parts)))
            self._parts = []


def _to_call(item: FunctionCallItem) -> ToolCallPart:
    signed = read_signed_id(item.call_id)
    return ToolCallPart(
        id=signed.id,
        name=item.name,
        arguments=item.arguments,
        signature=None if signed.signature is None else signed.signature.value,
        signed_by=None if signed.signature is None else signed.signature.signed_by,
    )


def _to_content(content: str | tuple[ContentPart, ...]) -> str | tuple[Part, ...]:
    return content if isinstance(content, str) else _to_parts(content)


def _to_parts(content: str | tuple[ContentPart, ...]) -> tuple[TextPart | ImagePart, ...]:
    return (TextPart(content),) if isinstance(content, str) else tuple(_to_part(part) for part in content)


def _to_part(part: ContentPart) -> TextPart | ImagePart:
    match part:
        case InputText() | OutputText():
            return TextPart(part.text)
        case Refusal():
            return TextPart(part.refusal)
        case InputImage():
            return ImagePart(url=part.image_url, detail=part.detail)
        case _:
            assert_never(part)


def _to_result(item: FunctionCallOutputItem) -> ToolResultPart:
    output = item.output
    content = output if isinstance(output, str) else _to_parts(output)
    return ToolResultPart(tool_call_id=read_signed_id(item.call_id).id, content=content)
