"""Reads OpenAI's streams: of chats, and of completions.

    chunks with choices, then one with the usage and no choices, then `[DONE]`

A stream without `[DONE]` is not whole, however well it looks.
"""

import msgspec

from headrace.providers.counts import to_count
from headrace.providers.failing import Complaints
from headrace.providers.gemini.signatures import SIGNED_BY as GEMINI
from headrace.providers.openai.errors import read_error_value
from headrace.providers.openai.logprobs import to_chat_logprobs, to_completion_logprobs
from headrace.providers.openai.wire import (
    ChatChoice,
    ChatChunk,
    CompletionChunk,
    ContentPiece,
    Delta,
    ExtraContent,
    UsageBody,
)
from headrace.providers.reading import StreamReader
from headrace.providers.telling import GenerationTelling, SequenceTelling
from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, FinishReason, Signature, Usage

_DONE = b"[DONE]"
_chats = msgspec.json.Decoder(ChatChunk)
_completions = msgspec.json.Decoder(CompletionChunk)
REASONS: dict[str, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
}
# The server gave up, and says so where others give a reason to be content with.
_FAILED_REASONS = frozenset({"abort", "error", "insufficient_system_resource", "network_error"})


class _OpenAIReader(StreamReader):
    """What the two kinds of streams have in common."""

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt: this API says them at the end, however much of it came at once."""
        return 0

    def end(self) -> list[Event]:
        """Take the end of the body, which comes too early: `[DONE]` would have ended the reading."""
        raise self._complaints.broken("it has no end")

    def _finish(self, events: list[Event]) -> None:
        self._telling.finish(events)

    def _take_rest(self, chunk: ChatChunk | CompletionChunk) -> None:
        """Take what a chunk has beside its choices."""
        if chunk.usage is not None:
            self._telling.usage = to_usage(chunk.usage)
        if chunk.error is not None:
            raise self._complaints.of_event(read_error_value(chunk.error))
        if chunk.object == "error":
            raise self._complaints.of_event(read_error_value({"message": chunk.message, "code": chunk.code}))

    def _end_sequence(
        self, sequence: SequenceTelling, reason: str, stop_reason: int | str | None, events: list[Event]
    ) -> None:
        if reason in _FAILED_REASONS:
            raise self._complaints.ill(ErrorCode.PROVIDER_ERROR, f"gave up: {reason}")
        stop = stop_reason if isinstance(stop_reason, str) and reason == "stop" else None
        sequence.finish(events, REASONS.get(reason, "stop"), stop)


class ChatReader(_OpenAIReader):
    """Reads the stream of a chat completion."""

    def __init__(self, telling: GenerationTelling, complaints: Complaints) -> None:
        super().__init__(telling, complaints)
        self._refusing: set[int] = set()

    def take(self, data: bytes, events: list[Event]) -> None:
        """Take the next chunk."""
        if data == _DONE:
            self._finish(events)
            return
        chunk = self._decode(_chats, data, "a chunk")
        if chunk.usage is not None or chunk.error is not None or chunk.object == "error":
            self._take_rest(chunk)
        for choice in chunk.choices or ():
            self._take_choice(choice, events)

    def _take_choice(self, choice: ChatChoice, events: list[Event]) -> None:
        sequence = self._telling.sequence(choice.index, events)
        delta = choice.delta
        if delta is not None:
            self._take_delta(sequence, delta, choice, events)
        if choice.finish_reason:
            reason = "content_filter" if choice.index in self._refusing else choice.finish_reason
            self._end_sequence(sequence, reason, choice.stop_reason, events)

    def _take_delta(self, sequence: SequenceTelling, delta: Delta, choice: ChatChoice, events: list[Event]) -> None:
        if reasoning := delta.reasoning_content or delta.reasoning:
            sequence.think(events, reasoning)
        content = delta.content
        if isinstance(content, list):
            content = _take_parts(sequence, content, events)
        if delta.refusal:
            # What the vendor calls a refusal is what the client is told in place of an answer.
            self._refusing.add(choice.index)
            content = (content or "") + delta.refusal
        if content or choice.logprobs is not None or choice.token_ids:
            sequence.say(
                events,
                content or "",
                token_ids=None if choice.token_ids is None else tuple(choice.token_ids),
                logprobs=None if choice.logprobs is None else to_chat_logprobs(choice.logprobs),
            )
        if delta.tool_calls:
            for place, piece in enumerate(delta.tool_calls):
                function = piece.function
                sequence.call(
                    events,
                    place if piece.index is None else piece.index,
                    call_id=piece.id,
                    name=None if function is None else function.name,
                    arguments="" if function is None else function.arguments or "",
                    signature=None if piece.extra_content is None else _to_signature(piece.extra_content),
                )


def _to_signature(extra: ExtraContent) -> Signature | None:
    found = None if extra.google is None else extra.google.thought_signature
    return Signature(found, GEMINI) if found else None


def _take_parts(sequence: SequenceTelling, parts: list[ContentPiece], events: list[Event]) -> str:
    """Tell the thoughts among the parts, and return the text."""
    for part in parts:
        if thought := "".join([item.text for item in part.thinking]):
            sequence.think(events, thought)
    return "".join([part.text for part in parts if part.type == "text"])


class CompletionReader(_OpenAIReader):
    """Reads the stream of a completion."""

    def take(self, data: bytes, events: list[Event]) -> None:
        """Take the next chunk."""
        if data == _DONE:
            self._finish(events)
            return
        chunk = self._decode(_completions, data, "a chunk")
        if chunk.usage is not None or chunk.error is not None or chunk.object == "error":
            self._take_rest(chunk)
        for choice in chunk.choices or ():
            sequence = self._telling.sequence(choice.index, events)
            if choice.text or choice.logprobs is not None or choice.token_ids:
                sequence.say(
                    events,
                    choice.text or "",
                    token_ids=None if choice.token_ids is None else tuple(choice.token_ids),
                    logprobs=None if choice.logprobs is None else to_completion_logprobs(choice.logprobs),
                )
            if choice.finish_reason:
                self._end_sequence(sequence, choice.finish_reason, choice.stop_reason, events)


def to_usage(usage: UsageBody) -> Usage:
    """Return token counts in our words."""
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = usage.prompt_cache_hit_tokens if prompt is None else prompt.cached_tokens
    return Usage(
        to_count(usage.prompt_tokens),
        to_count(usage.completion_tokens),
        to_count(cached),
        to_count(None if completion is None else completion.reasoning_tokens),
    )
