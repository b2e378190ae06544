"""Our messages in OpenAI's words."""

import hashlib
from typing import Any, assert_never

from headrace.providers.failing import Complaints
from headrace.providers.gemini.signatures import UNSIGNED, signature_of
from headrace.schema.messages import ImagePart, Message, ReasoningPart, TextPart, ToolCallPart, ToolResultPart

MAX_ID_CHARACTERS = 40


class MessageWriter:
    """Writes a conversation.

    Args:
        sends_reasoning: whether the server takes back what the assistant thought; OpenAI itself does not.
        sends_signatures: whether it is Gemini's, which wants the signatures of its calls back.
        complaints: say what goes wrong.
    """

    def __init__(self, *, sends_reasoning: bool, sends_signatures: bool, complaints: Complaints) -> None:
        self._sends_reasoning = sends_reasoning
        self._sends_signatures = sends_signatures
        self._complaints = complaints

    def write(self, messages: tuple[Message, ...]) -> list[dict[str, Any]]:
        """Return the messages. One that holds the results of several calls becomes one for each.

        Raises:
            ProviderError: one holds what this API has no place for.
        """
        return [body for i, message in enumerate(messages) for body in self._write(message, f"messages[{i}]")]

    def _write(self, message: Message, path: str) -> list[dict[str, Any]]:
        match message.role:
            case "tool":
                return [
                    self._write_result(part, f"{path}.content[{j}]")
                    for j, part in enumerate(message.parts)
                    if isinstance(part, ToolResultPart)
                ]
            case "assistant":
                body = self._write_answer(message)
            case "system":
                body = {"role": "system", "content": message.to_text()}
            case "user":
                body = {"role": "user", "content": _write_content(message)}
            case _:
                assert_never(message.role)
        return [body if message.name is None else body | {"name": message.name}]

    def _write_answer(self, message: Message) -> dict[str, Any]:
        calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
        text = message.to_text()
        body: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
        if calls:
            body["tool_calls"] = [self._write_call(call, is_first=i == 0) for i, call in enumerate(calls)]
        thought = "".join([part.text for part in message.parts if isinstance(part, ReasoningPart)])
        if thought and self._sends_reasoning:
            body["reasoning_content"] = thought
        return body

    def _write_call(self, call: ToolCallPart, *, is_first: bool) -> dict[str, Any]:
        function = {"name": call.name, "arguments": call.arguments}
        body: dict[str, Any] = {"id": to_short_id(call.id), "type": "function", "function": function}
        if self._sends_signatures and (signature := signature_of(call) or (UNSIGNED if is_first else None)):
            body["extra_content"] = {"google": {"thought_signature": signature}}
        return body

    def _write_result(self, result: ToolResultPart, path: str) -> dict[str, Any]:
        if not isinstance(result.content, str) and any(isinstance(part, ImagePart) for part in result.content):
            raise self._complaints.unsupported("images in the result of a tool", path)
        return {"role": "tool", "tool_call_id": to_short_id(result.tool_call_id), "content": result.to_text()}


def _write_content(message: Message) -> str | list[dict[str, Any]]:
    if isinstance(message.content, str):
        return message.content
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, TextPart):
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, ImagePart):
            image = {"url": part.url} if part.detail is None else {"url": part.url, "detail": part.detail}
            parts.append({"type": "image_url", "image_url": image})
    return parts


def to_short_id(call_id: str) -> str:
    """Return an id of a call that is short enough for OpenAI: that of another vendor may not be."""
    if len(call_id) <= MAX_ID_CHARACTERS:
        return call_id
    return "call_" + hashlib.sha256(call_id.encode()).hexdigest()[: MAX_ID_CHARACTERS - len("call_")]
