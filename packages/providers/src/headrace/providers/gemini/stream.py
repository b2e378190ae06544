"""Reads Gemini's stream: pieces with candidates, the last of each with the reason of its end, then the end of the body.

Nothing else says that a stream is whole, so one in which a candidate has no such reason is not.
"""

import msgspec

from headrace.providers.arguments import read_arguments
from headrace.providers.counts import to_count
from headrace.providers.failing import Complaints
from headrace.providers.gemini.errors import read_error_value
from headrace.providers.gemini.signatures import SIGNED_BY
from headrace.providers.gemini.wire import (
    Candidate,
    FunctionCall,
    GenerateChunk,
    LikelyToken,
    LogprobsResult,
    Part,
    UsageBody,
)
from headrace.providers.reading import StreamReader
from headrace.providers.telling import GenerationTelling, SequenceTelling
from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, FinishReason, Signature, TokenLogprob, Usage

REASONS: dict[str, FinishReason] = {
    "STOP": "stop",
    "FINISH_REASON_UNSPECIFIED": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "LANGUAGE": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "IMAGE_RECITATION": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
"""Every other reason means that the model, or what reads it, failed."""

_chunks = msgspec.json.Decoder(GenerateChunk)


class ContentReader(StreamReader):
    """Reads the stream of a generation; see `AnswerReader`.

    Args:
        telling: tells what it says.
        count: how many answers were asked for.
        complaints: say what goes wrong.
    """

    def __init__(self, telling: GenerationTelling, *, count: int, complaints: Complaints) -> None:
        super().__init__(telling, complaints)
        self._count = count

    def take(self, data: bytes, events: list[Event]) -> None:
        """Take the next piece."""
        chunk = self._decode(_chunks, data, "a chunk")
        if chunk.error is not None:
            raise self._complaints.of_event(read_error_value(chunk.error))
        if chunk.usage_metadata is not None:
            self._telling.usage = to_usage(chunk.usage_metadata)
        for candidate in chunk.candidates or ():
            self._take_candidate(candidate, events)
        if not chunk.candidates and chunk.prompt_feedback is not None and chunk.prompt_feedback.block_reason:
            # The prompt itself was not let through: that is an answer without a word in it.
            for index in range(self._count):
                self._telling.sequence(index, events).finish(events, "content_filter")

    def end(self) -> list[Event]:
        """Take the end of the body, which is the end of the generation."""
        events: list[Event] = []
        self._telling.finish(events)
        return events

    def _take_candidate(self, candidate: Candidate, events: list[Event]) -> None:
        sequence = self._telling.sequence(candidate.index, events)
        logprobs = None if candidate.logprobs_result is None else to_logprobs(candidate.logprobs_result)
        if candidate.content is not None:
            for part in candidate.content.parts or ():
                self._take_part(sequence, part, events)
        if logprobs:
            sequence.say(events, "", logprobs=logprobs)
        if candidate.finish_reason:
            reason = REASONS.get(candidate.finish_reason)
            if reason is None:
                raise self._complaints.ill(ErrorCode.PROVIDER_ERROR, f"gave up: {candidate.finish_reason[:40]}")
            sequence.finish(events, reason)

    def _take_part(self, sequence: SequenceTelling, part: Part, events: list[Event]) -> None:
        signature = Signature(part.thought_signature, SIGNED_BY) if part.thought_signature else None
        if part.text:
            if part.thought:
                sequence.think(events, part.text)
            else:
                sequence.say(events, part.text)
        if part.function_call is not None:
            self._take_call(sequence, part.function_call, signature, events)
        elif signature is None:
            pass
        elif part.thought:
            sequence.sign_thought(events, signature)
        else:
            # It may come with the last of the text, or after it in a part of its own.
            sequence.sign_text(events, signature)

    def _take_call(
        self, sequence: SequenceTelling, call: FunctionCall, signature: Signature | None, events: list[Event]
    ) -> None:
        arguments = read_arguments(call.args, self._complaints) or "{}"
        sequence.call(events, sequence.calls, call_id=call.id, name=call.name, arguments=arguments, signature=signature)


def to_usage(usage: UsageBody) -> Usage:
    """Return token counts in our words: thoughts are among the tokens of the answer."""
    thoughts = to_count(usage.thoughts_token_count)
    return Usage(
        to_count(usage.prompt_token_count) + to_count(usage.tool_use_prompt_token_count),
        to_count(usage.candidates_token_count) + thoughts,
        to_count(usage.cached_content_token_count),
        thoughts,
    )


def to_logprobs(result: LogprobsResult) -> tuple[TokenLogprob, ...]:
    """Return the log probabilities of a piece."""
    tops = result.top_candidates
    return tuple(
        _to_token(token, tuple([_to_token(top, ()) for top in tops[i].candidates]) if i < len(tops) else ())
        for i, token in enumerate(result.chosen_candidates)
    )


def _to_token(token: LikelyToken, top: tuple[TokenLogprob, ...]) -> TokenLogprob:
    return TokenLogprob(token.token_id, token.token, token.log_probability, None, top)
