"""The content blocks of a stream: one is open at a time, and the next begins when something else comes.

All that is the same in every delta of a block is made when it begins; a delta costs the escaping of its text.
"""

from typing import Literal

from headrace.gateway.dialects.anthropic.answers import (
    Content,
    ContentBlockStart,
    RedactedThinkingContent,
    TextContent,
    ThinkingContent,
    ToolUseContent,
)
from headrace.gateway.dialects.anthropic.ids import HOME, to_tool_use_id
from headrace.gateway.dialects.anthropic.render import Thinking
from headrace.gateway.dialects.signing import write_signature
from headrace.gateway.frames import encode_text, encode_value
from headrace.schema.events import SequenceDelta, Signature, ToolCallDelta

Kind = Literal["text", "thinking", "redacted_thinking", "tool_use"]

PING = b'event: ping\ndata: {"type":"ping"}\n\n'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b'
_HEADS: dict[Kind, bytes] = {
    "text": b'{"type":"text_delta","text":',
    "thinking": b'{"type":"thinking_delta","thinking":',
    "redacted_thinking": b"",
    "tool_use": b'{"type":"input_json_delta","partial_json":',
}
_TAIL = b"}}\n\n"


class BlockWriter:
    """Writes the blocks of one message.

    Args:
        signature: what stands where a thought is signed, for thoughts that are not.
        thinking: whether there are blocks of thoughts.
    """

    def __init__(self, *, signature: str, thinking: Thinking) -> None:
        self._no_signature = encode_text(signature)
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
        if delta.thought_signature is not None and self._thinking != "none":
            self._sign(delta.thought_signature, frames)
        if delta.text:
            if self._kind != "text":
                self._open("text", TextContent(), frames)
            frames += (self._head, encode_text(delta.text), _TAIL)
        for call in delta.tool_calls:
            self._write_call(call, frames)

    def _sign(self, signature: Signature, frames: list[bytes]) -> None:
        """End a thought with its signature; one that nobody else can read is there as a whole when it begins."""
        written = write_signature(signature, home=HOME)
        if signature.is_redacted:
            self._open("redacted_thinking", RedactedThinkingContent(data=written), frames)
        elif self._kind != "thinking":
            self._open("thinking", ThinkingContent(), frames)
        self.close(frames, signature=encode_text(written))

    def _write_call(self, call: ToolCallDelta, frames: list[bytes]) -> None:
        if self._kind != "tool_use" or self._call != call.index:
            self._call = call.index
            start = ToolUseContent(id=to_tool_use_id(call.id or "", call.signature), name=call.name or "")
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

    def close(self, frames: list[bytes], *, signature: bytes | None = None) -> None:
        """Add the end of the open block, if there is one.

        Args:
            frames: where to.
            signature: of a thought, encoded, where it is signed.
        """
        if self._kind is None:
            return
        if self._kind == "thinking":
            written = self._no_signature if signature is None else signature
            frames.append(_DELTA % (self._index, b'{"type":"signature_delta","signature":%b' % written) + _TAIL)
        frames.append(b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n' % self._index)
        self._kind = None


def _frame(name: bytes, value: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name, encode_value(value))
