"""The content blocks of a stream: one is open at a time, and the next begins when something else comes.

All that is the same in every delta of a block is made when it begins; a delta costs the escaping of its text.
"""

from typing import Literal

from headrace.gateway.dialects.anthropic.answers import (
    Content,
    ContentBlockStart,
    TextContent,
    ThinkingContent,
    ToolUseContent,
)
from headrace.gateway.dialects.anthropic.ids import to_tool_use_id
from headrace.gateway.dialects.anthropic.render import Thinking
from headrace.gateway.frames import encode_text, encode_value
from headrace.schema.events import SequenceDelta, ToolCallDelta

Kind = Literal["text", "thinking", "tool_use"]

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b'
_HEADS: dict[Kind, bytes] = {
    "text": b'{"type":"text_delta","text":',
    "thinking": b'{"type":"thinking_delta","thinking":',
    "tool_use": b'{"type":"input_json_delta","partial_json":',
}
_TAIL = b"}}\n\n"


class BlockWriter:
    """Writes the blocks of one message.

    Args:
        signature: what thoughts are signed with.
        thinking: whether there are blocks of thoughts.
    """

    def __init__(self, *, signature: str, thinking: Thinking) -> None:
        self._signature = encode_text(signature)
        self._thinking: Thinking = thinking
        self._index = -1
        self._kind: Kind | None = None
        self._call = -1
        self._head = b""

    def write(self, delta: SequenceDelta, frames: list[bytes]) -> None:
        """Add the frames of a delta: reasoning, then text, then tool calls."""
        if delta.reasoning and self._thinking != "none":
            if self._kind != "thinking":
                self._open("thinking", ThinkingContent(), frames)
            if self._thinking == "shown":
                frames += (self._head, encode_text(delta.reasoning), _TAIL)
        if delta.text:
            if self._kind != "text":
                self._open("text", TextContent(), frames)
            frames += (self._head, encode_text(delta.text), _TAIL)
        for call in delta.tool_calls:
            self._write_call(call, frames)

    def _write_call(self, call: ToolCallDelta, frames: list[bytes]) -> None:
        if self._kind != "tool_use" or self._call != call.index:
            self._call = call.index
            start = ToolUseContent(id=to_tool_use_id(call.id or ""), name=call.name or "")
            self._open("tool_use", start, frames)
        if call.arguments:
            frames += (self._head, encode_text(call.arguments), _TAIL)

    def _open(self, kind: Kind, content: Content, frames: list[bytes]) -> None:
        self.close(frames)
        self._kind = kind
        self._index += 1
        self._head = _DELTA % (self._index, _HEADS[kind])
        frames.append(_frame(b"content_block_start", ContentBlockStart(index=self._index, content_block=content)))
        if self._index == 0:
            frames.append(PING)

    def close(self, frames: list[bytes]) -> None:
        """Add the end of the open block, if there is one."""
        if self._kind is None:
            return
        if self._kind == "thinking":
            frames.append(_DELTA % (self._index, b'{"type":"signature_delta","signature":%b' % self._signature) + _TAIL)
        frames.append(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index)
        self._kind = None


def _frame(name: bytes, value: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, encode_value(value))
