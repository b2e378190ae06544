"""The deltas of a stream that have more than text, encoded: reasoning, tool calls, log probabilities, token ids."""

from msgspec import structs

from headrace.gateway.dialects.openai.chat.logprobs import to_logprobs
from headrace.gateway.dialects.openai.chat.signatures import to_block, to_extra
from headrace.gateway.dialects.signed_ids import to_signed_id
from headrace.gateway.frames import encode_text, encode_value
from headrace.schema.events import SequenceDelta, ToolCallDelta
from headrace.schema.request import OutputFlags


class SignedThings:
    """What is signed of one choice.

    A thought is told once more as a whole where it is signed, and the text has one signature at most: clients add up
    strings of the same name.
    """

    __slots__ = ("_count", "_has_signed_text", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._count = 0
        self._has_signed_text = False

    def encode(self, event: SequenceDelta) -> tuple[bytes, bytes]:
        """Take a delta, and return the fields of the thought and of the text that it signs; empty where there is none.

        Args:
            event: a delta, without its thoughts where these are not shown.
        """
        block = extra = b""
        if event.reasoning:
            self._pieces.append(event.reasoning)
        if event.thought_signature is not None:
            thought = to_block("".join(self._pieces), event.thought_signature, index=self._count)
            block = b'"thinking_blocks":[%b]' % encode_value(thought)
            self._count += 1
            self._pieces.clear()
        if event.text or event.text_signature or event.tool_calls:
            self.end_thought()
        if not self._has_signed_text and (found := to_extra(event.text_signature)) is not None:
            self._has_signed_text = True
            extra = b'"extra_content":%b' % encode_value(found)
        return block, extra

    def end_thought(self) -> None:
        """Forget a thought that nobody has signed before something else came."""
        self._pieces.clear()


def encode_deltas(event: SequenceDelta, output: OutputFlags, signed: SignedThings) -> list[bytes]:
    """Return the `delta` of each frame that an event becomes: what was thought and said, then each piece of a call."""
    if not output.reasoning and (event.reasoning or event.thought_signature is not None):
        event = structs.replace(event, reasoning="", thought_signature=None)
    block, extra = signed.encode(event)
    fields: list[bytes] = []
    if event.reasoning:
        thought = encode_text(event.reasoning)
        fields.append(b'"reasoning_content":%b,"reasoning":%b' % (thought, thought))
    if block:
        fields.append(block)
    if event.text:
        fields.append(b'"content":%b' % encode_text(event.text))
    if extra:
        fields.append(extra)
    deltas = [b"{%b}" % b",".join(fields)] if fields else []
    for call in event.tool_calls:
        deltas += (b'{"tool_calls":[%b]}' % piece for piece in _encode_call(call))
    return deltas


def _encode_call(call: ToolCallDelta) -> list[bytes]:
    """Return the pieces of a call: its first has its name and no arguments, as OpenAI's has."""
    pieces: list[bytes] = []
    if call.name is not None:
        id_ = to_signed_id(call.id or "", call.signature)
        extra = to_extra(call.signature)
        pieces.append(
            b'{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":""}%b}'
            % (
                call.index,
                encode_text(id_),
                encode_text(call.name),
                b"" if extra is None else b',"extra_content":%b' % encode_value(extra),
            )
        )
    if call.arguments:
        pieces.append(b'{"index":%d,"function":{"arguments":%b}}' % (call.index, encode_text(call.arguments)))
    return pieces


def encode_choice_fields(event: SequenceDelta, output: OutputFlags) -> bytes | None:
    """Return what stands behind the first delta of an event, or None where that is nothing out of the ordinary."""
    logprobs = to_logprobs(event.logprobs) if output.logprobs and event.logprobs else None
    has_ids = output.token_ids and bool(event.token_ids)
    if logprobs is None and not has_ids:
        return None
    ids = b',"token_ids":%b' % encode_value(event.token_ids) if has_ids else b""
    return b'"logprobs":%b,"finish_reason":null%b}' % (encode_value(logprobs), ids)
