"""Our messages in Gemini's words: the model and the user take turns, and results name the function that they are of."""

import mimetypes
from collections.abc import Mapping
from typing import Any, Literal, assert_never

from headrace.providers.arguments import write_arguments
from headrace.providers.failing import Complaints
from headrace.providers.gemini.signatures import UNSIGNED, signature_of
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

Role = Literal["user", "model"]
_DEFAULT_IMAGE = "image/jpeg"


def write_system(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Return what the system says, wherever it says it, one part for each message."""
    return [{"text": text} for message in messages if message.role == "system" and (text := message.to_text())]


def write_contents(messages: tuple[Message, ...], complaints: Complaints) -> list[dict[str, Any]]:
    """Return the conversation without the system's words. Neighbours of one role become one turn.

    Raises:
        ProviderError: a message holds what can't be said in Gemini's words.
    """
    names = {part.id: part.name for message in messages for part in message.parts if isinstance(part, ToolCallPart)}
    turns: list[dict[str, Any]] = []
    for i, message in enumerate(messages):
        if message.role == "system":
            continue
        role: Role = "model" if message.role == "assistant" else "user"
        is_unsigned = True
        parts: list[dict[str, Any]] = []
        for j, part in enumerate(message.parts):
            written = _write_part(part, f"messages[{i}].content[{j}]", names, complaints)
            if written is None:
                continue
            if isinstance(part, ToolCallPart):
                # Only the first of calls that were made at once is signed.
                if is_unsigned and "thoughtSignature" not in written:
                    written["thoughtSignature"] = UNSIGNED
                is_unsigned = False
            parts.append(written)
        if not parts:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["parts"].extend(parts)
        else:
            turns.append({"role": role, "parts": parts})
    return turns


def _write_part(part: Part, path: str, names: Mapping[str, str], complaints: Complaints) -> dict[str, Any] | None:
    match part:
        case TextPart():
            signature = signature_of(part)
            return _sign({"text": part.text}, signature) if part.text or signature else None
        case ImagePart():
            return _write_image(part, path, complaints)
        case ReasoningPart():
            # Gemini takes back what it signed, and no other thought.
            signature = signature_of(part)
            return _sign({"text": part.text, "thought": True}, signature) if signature else None
        case ToolCallPart():
            return _write_call(part, path, complaints)
        case ToolResultPart():
            return _write_result(part, path, names, complaints)
        case _:
            assert_never(part)


def _write_call(part: ToolCallPart, path: str, complaints: Complaints) -> dict[str, Any]:
    arguments = write_arguments(part.arguments, path, complaints)
    return _sign({"functionCall": {"id": part.id, "name": part.name, "args": arguments}}, signature_of(part))


def _sign(part: dict[str, Any], signature: str | None) -> dict[str, Any]:
    return part if signature is None else part | {"thoughtSignature": signature}


def _write_result(part: ToolResultPart, path: str, names: Mapping[str, str], complaints: Complaints) -> dict[str, Any]:
    name = names.get(part.tool_call_id)
    if name is None:
        raise complaints.invalid(f"{path}: no call before it has the id {part.tool_call_id[:80]!r}", path)
    if not isinstance(part.content, str) and any(isinstance(item, ImagePart) for item in part.content):
        raise complaints.unsupported("images in the result of a tool", path)
    key = "error" if part.is_error else "output"
    response = {"id": part.tool_call_id, "name": name, "response": {key: part.to_text()}}
    return {"functionResponse": response}


def _write_image(part: ImagePart, path: str, complaints: Complaints) -> dict[str, Any]:
    if not part.url.startswith("data:"):
        guess, _ = mimetypes.guess_type(part.url.partition("?")[0])
        return {"fileData": {"mimeType": guess or _DEFAULT_IMAGE, "fileUri": part.url}}
    image = read_data_url(part.url)
    if image is None:
        raise complaints.invalid(f"{path}: the image must be in base64, with its type", path)
    return {"inlineData": {"mimeType": image.media_type, "data": image.data}}
