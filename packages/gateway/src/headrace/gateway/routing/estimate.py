"""Counting tokens where nobody said how many there were: four bytes are about one."""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import structs

from headrace.schema.events import Event, SequenceDelta
from headrace.schema.messages import ImagePart, ToolResultPart
from headrace.schema.request import ChatCompletionRequest

BYTES_OF_TOKEN = 4
IMAGE_TOKENS = 1000


def estimate_input(request: ChatCompletionRequest) -> int:
    """Return about how many tokens a prompt has."""
    images = 0
    size = 0
    for message in request.messages:
        if isinstance(message.content, str):
            size += _size(message.content)
            continue
        for part in message.content:
            if isinstance(part, ImagePart):
                images += 1
            elif isinstance(part, ToolResultPart):
                size += len(msgspec.json.encode(part))
            else:
                # A signature is no text, however long it is.
                size += len(msgspec.json.encode(structs.replace(part, signature=None, signed_by=None)))
    size += len(msgspec.json.encode(request.tools)) if request.tools else 0
    tokens = 0
    for prompt in request.prompts:
        if isinstance(prompt, str):
            size += _size(prompt)
        else:
            tokens += len(prompt)
    return _tokens(size) + tokens + images * IMAGE_TOKENS


class OutputEstimate:
    """Adds up what was told."""

    def __init__(self) -> None:
        self._bytes = 0
        self._reasoning_bytes = 0

    def add(self, events: Sequence[Event]) -> None:
        """Count events in."""
        for event in events:
            if isinstance(event, SequenceDelta):
                self._bytes += _size(event.text) + sum(_sizes(call.arguments for call in event.tool_calls))
                self._reasoning_bytes += _size(event.reasoning)

    @property
    def output_tokens(self) -> int:
        """About how many tokens that was, reasoning included."""
        return _tokens(self._bytes + self._reasoning_bytes)

    @property
    def reasoning_tokens(self) -> int:
        """Of them, reasoning."""
        return _tokens(self._reasoning_bytes)


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _sizes(texts: Iterable[str]) -> Iterable[int]:
    return (_size(text) for text in texts)


def _tokens(size: int) -> int:
    return -(-size // BYTES_OF_TOKEN)
