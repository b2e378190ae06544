"""Values of the schema in the words of the native API."""

import struct
from collections.abc import Sequence

from headrace.gateway.answer import Answer, SaidPart, SequenceAnswer
from headrace.gateway.dialects.native.wire import (
    EchoedPrompt,
    Embedding,
    GenerationAnswer,
    Logprob,
    SignatureBody,
    TimingSeconds,
    TokenUsage,
    ToolCallPiece,
    WholeSequence,
)
from headrace.schema.events import (
    PromptEchoed,
    PromptEmbedded,
    Signature,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from headrace.schema.messages import ReasoningPart
from headrace.schema.request import OutputFlags


def to_usage(usage: Usage | None, output: OutputFlags) -> TokenUsage | None:
    """Return the token counts, if they were asked for."""
    if usage is None or not output.usage:
        return None
    return TokenUsage(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
    )


def to_timings(timings: Timings | None, output: OutputFlags) -> TimingSeconds | None:
    """Return the times, if they were asked for and are known."""
    if timings is None or not output.timings:
        return None
    return TimingSeconds(
        queue_seconds=timings.queue_seconds,
        first_token_seconds=timings.first_token_seconds,
        total_seconds=timings.total_seconds,
    )


def to_logprobs(logprobs: Sequence[TokenLogprob] | None) -> tuple[Logprob, ...] | None:
    """Return the log probabilities of tokens, where there are any."""
    return None if logprobs is None else tuple(_to_logprob(item) for item in logprobs)


def _to_logprob(item: TokenLogprob) -> Logprob:
    return Logprob(
        token_id=item.token_id,
        text=item.text,
        logprob=item.logprob,
        bytes=None if item.raw is None else tuple(item.raw),
        top=tuple(_to_logprob(other) for other in item.top),
    )


def to_tool_calls(calls: Sequence[ToolCallDelta], output: OutputFlags) -> tuple[ToolCallPiece, ...]:
    """Return what tool calls grew by."""
    return tuple(_to_piece(call, call.signature if output.signatures else None) for call in calls)


def _to_piece(call: ToolCallDelta, signature: Signature | None) -> ToolCallPiece:
    return ToolCallPiece(
        index=call.index,
        id=call.id,
        name=call.name,
        arguments=call.arguments,
        signature=None if signature is None else signature.value,
        signed_by=None if signature is None else signature.signed_by,
    )


def to_signature(signature: Signature | None, output: OutputFlags) -> SignatureBody | None:
    """Return a signature, if it was asked for."""
    if signature is None or not output.signatures:
        return None
    return SignatureBody(signature=signature.value, signed_by=signature.signed_by, is_redacted=signature.is_redacted)


def to_parts(sequence: SequenceAnswer, output: OutputFlags) -> tuple[SaidPart, ...]:
    """Return what was said in the order in which it was, if signatures were asked for."""
    if not output.signatures:
        return ()
    return tuple(part for part in sequence.parts if output.reasoning or not isinstance(part, ReasoningPart))


def to_prompt(event: PromptEchoed) -> EchoedPrompt:
    """Return a prompt as the engine saw it."""
    return EchoedPrompt(
        index=event.index, text=event.text, token_ids=event.token_ids, logprobs=to_prompt_logprobs(event)
    )


def to_prompt_logprobs(event: PromptEchoed) -> tuple[Logprob | None, ...] | None:
    """Return the log probabilities of a prompt's tokens; the first has none."""
    if event.logprobs is None:
        return None
    return tuple(None if item is None else _to_logprob(item) for item in event.logprobs)


def to_vector(event: PromptEmbedded) -> tuple[float, ...]:
    """Return the numbers of an embedding."""
    return struct.unpack(f"<{len(event.vector) // 4}f", event.vector)


def to_whole_answer(answer: Answer, *, request_id: str, model: str, output: OutputFlags) -> GenerationAnswer:
    """Return the body of a whole answer."""
    return GenerationAnswer(
        id=request_id,
        model=model,
        sequences=tuple(_to_sequence(sequence, output) for sequence in answer.sequences),
        usage=to_usage(answer.usage, output),
        timings=to_timings(answer.timings, output),
        prompts=tuple(to_prompt(prompt) for prompt in answer.prompts) if output.prompt else (),
        embeddings=tuple(Embedding(index=item.index, vector=to_vector(item)) for item in answer.embeddings),
    )


def _to_sequence(sequence: SequenceAnswer, output: OutputFlags) -> WholeSequence:
    return WholeSequence(
        index=sequence.index,
        text=sequence.text,
        finish_reason=sequence.finish_reason,
        stop_sequence=sequence.stop_sequence,
        token_ids=sequence.token_ids if output.token_ids else None,
        reasoning=sequence.reasoning if output.reasoning else None,
        tool_calls=sequence.tool_calls,
        logprobs=to_logprobs(sequence.logprobs) if output.logprobs else None,
        parts=to_parts(sequence, output),
    )
