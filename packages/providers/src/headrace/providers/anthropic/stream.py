"""Reads Anthropic's stream.

    message_start, then for each block content_block_start, its content_block_deltas and content_block_stop,
    then message_delta with the reason of the end and the token counts, then message_stop

`ping` may come anywhere, and so may `error`, which is the end. A stream without `message_stop` is not whole.
"""

import msgspec

from headrace.providers.anthropic.errors import read_error
from headrace.providers.anthropic.signatures import SIGNED_BY
from headrace.providers.anthropic.wire import BlockBody, DeltaBody, ErrorDetail, StreamEvent, UsageBody
from headrace.providers.arguments import read_arguments
from headrace.providers.counts import to_count
from headrace.providers.failing import Complaints
from headrace.providers.reading import StreamReader
from headrace.providers.telling import GenerationTelling, SequenceTelling
from headrace.schema.events import Event, FinishReason, Signature, Usage

REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_NO_INPUT = ("", "{}")
_events = msgspec.json.Decoder(StreamEvent)


class MessageReader(StreamReader):
    """Reads the stream of a message; see `AnswerReader`.

    Args:
        telling: tells what it says.
        complaints: say what goes wrong.
    """

    def __init__(self, telling: GenerationTelling, complaints: Complaints) -> None:
        super().__init__(telling, complaints)
        self._counts = UsageBody()
        # The call whose block is open, and whether anything of its input has come.
        self._call: int | None = None
        self._has_input = False
        # What the thought whose block is open is signed with, as far as that is known.
        self._signature = ""

    def take(self, data: bytes, events: list[Event]) -> None:
        """Take the next event."""
        event = self._decode(_events, data, "an event")
        match event.type:
            case "content_block_delta":
                if event.delta is not None:
                    self._take_delta(event.index, event.delta, events)
            case "content_block_start":
                if event.content_block is not None:
                    self._take_block(event.index, event.content_block, events)
            case "content_block_stop":
                self._close_call(events)
                self._close_thought(events)
            case "message_start" | "message_delta":
                self._take_message(event, events)
            case "message_stop":
                self._telling.finish(events)
            case "error":
                raise self._complaints.of_event(read_error(event.error or ErrorDetail()))
            case _:
                # A ping, or what a newer version has.
                pass

    def end(self) -> list[Event]:
        """Take the end of the body, which comes too early."""
        raise self._complaints.broken("it has no end")

    def _sequence(self, events: list[Event]) -> SequenceTelling:
        return self._telling.sequence(0, events)

    def _take_message(self, event: StreamEvent, events: list[Event]) -> None:
        usage = event.usage if event.message is None else event.message.usage
        if usage is not None:
            self._counts = _join(self._counts, usage)
            self._telling.usage = to_usage(self._counts)
        sequence = self._sequence(events)
        if event.delta is not None and (reason := event.delta.stop_reason):
            sequence.finish(events, REASONS.get(reason, "stop"), event.delta.stop_sequence)

    def _take_block(self, index: int, block: BlockBody, events: list[Event]) -> None:
        sequence = self._sequence(events)
        match block.type:
            case "tool_use":
                self._call = index
                given = read_arguments(block.input, self._complaints)
                self._has_input = given not in _NO_INPUT
                arguments = given if self._has_input else ""
                sequence.call(events, index, call_id=block.id, name=block.name, arguments=arguments)
            case "text" if block.text:
                sequence.say(events, block.text)
            case "thinking":
                self._signature = block.signature
                if block.thinking:
                    sequence.think(events, block.thinking)
            case "redacted_thinking":
                sequence.sign_thought(events, Signature(block.data, SIGNED_BY, is_redacted=True))
            case _:
                pass

    def _take_delta(self, index: int, delta: DeltaBody, events: list[Event]) -> None:
        sequence = self._sequence(events)
        match delta.type:
            case "text_delta" if delta.text:
                sequence.say(events, delta.text)
            case "thinking_delta" if delta.thinking:
                sequence.think(events, delta.thinking)
            case "signature_delta":
                self._signature = delta.signature
            case "input_json_delta" if delta.partial_json and index == self._call:
                self._has_input = True
                sequence.call(events, index, arguments=delta.partial_json)
            case _:
                pass

    def _close_thought(self, events: list[Event]) -> None:
        """End a thought that is signed; another vendor that speaks this API may not sign its own."""
        if self._signature:
            self._sequence(events).sign_thought(events, Signature(self._signature, SIGNED_BY))
        self._signature = ""

    def _close_call(self, events: list[Event]) -> None:
        """End a call: one without input has an empty object all the same."""
        if self._call is not None and not self._has_input:
            self._sequence(events).call(events, self._call, arguments="{}")
        self._call = None


def _join(old: UsageBody, new: UsageBody) -> UsageBody:
    """Return the counts so far: each event repeats what it knows, as a total."""
    return UsageBody(
        **{name: getattr(old, name) if getattr(new, name) is None else getattr(new, name) for name in _COUNTS}
    )


_COUNTS = UsageBody.__struct_fields__


def to_usage(counts: UsageBody) -> Usage:
    """Return token counts in our words: those of the prompt are all of it, wherever they came from."""
    cached = to_count(counts.cache_read_input_tokens)
    details = counts.output_tokens_details
    return Usage(
        to_count(counts.input_tokens) + to_count(counts.cache_creation_input_tokens) + cached,
        to_count(counts.output_tokens),
        cached,
        to_count(None if details is None else details.thinking_tokens),
    )
