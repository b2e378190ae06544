"""The deltas of a stream that have more than text, encoded: reasoning, tool calls, log probabilities, token ids."""

from headrace.gateway.dialects.openai.chat.logprobs import to_logprobs
from headrace.gateway.frames import encode_text, encode_value
from headrace.schema.events import SequenceDelta, ToolCallDelta
from headrace.schema.request import OutputFlags


def encode_deltas(event: SequenceDelta, output: OutputFlags) -> list[bytes]:
    """Return the `delta` of each frame that an event becomes: what was thought and said, then each piece of a call."""
    fields: list[bytes] = []
    if event.reasoning and output.reasoning:
        thought = encode_text(event.reasoning)
        fields.append(b'"reasoning_content":%b,"reasoning":%b' % (thought, thought))
    if event.text:
        fields.append(b'"content":%b' % encode_text(event.text))
    deltas = [b"{%b}" % b",".join(fields)] if fields else []
    for call in event.tool_calls:
        deltas += (b'{"tool_calls":[%b]}' % piece for piece in _encode_call(call))
    return deltas


def _encode_call(call: ToolCallDelta) -> list[bytes]:
    """Return the pieces of a call: its first has its name and no arguments, as OpenAI's has."""
    pieces: list[bytes] = []
    if call.name is not None:
        pieces.append(
            b'{"index":%d,"id":%b,"type":"function","function":{"name":%b,"arguments":""}}'
            % (call.index, encode_text(call.id or ""), encode_text(call.name))
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
