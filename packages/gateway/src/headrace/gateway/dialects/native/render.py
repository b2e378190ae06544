"""Values of the schema in the words of the native API."""

from headrace.gateway.answer import Answer
from headrace.gateway.dialects.native.wire import GenerationAnswer, TimingSeconds, TokenUsage, WholeSequence
from headrace.schema.events import Timings, Usage
from headrace.schema.request import OutputFlags


def to_usage(usage: Usage | None, output: OutputFlags) -> TokenUsage | None:
    """Return the token counts, if they were asked for."""
    if usage is None or not output.usage:
        return None
    return TokenUsage(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, cached_tokens=usage.cached_tokens
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


def to_whole_answer(answer: Answer, *, request_id: str, model: str, output: OutputFlags) -> GenerationAnswer:
    """Return the body of a whole answer."""
    return GenerationAnswer(
        id=request_id,
        model=model,
        sequences=tuple(
            WholeSequence(
                index=sequence.index,
                text=sequence.text,
                finish_reason=sequence.finish_reason,
                stop_sequence=sequence.stop_sequence,
                token_ids=sequence.token_ids if output.token_ids else None,
            )
            for sequence in answer.sequences
        ),
        usage=to_usage(answer.usage, output),
        timings=to_timings(answer.timings, output),
    )
