"""Values of the schema in Anthropic's words."""

from collections.abc import Sequence
from typing import Literal, assert_never

import msgspec

from headrace.gateway.answer import Answer, SequenceAnswer
from headrace.gateway.dialects.anthropic.answers import (
    Content,
    DeltaUsage,
    MessageAnswer,
    MessageUsage,
    OutputTokensDetails,
    RedactedThinkingContent,
    RefusalStopDetails,
    StopDelta,
    StopReason,
    TextContent,
    ThinkingContent,
    TokensCount,
    ToolUseContent,
)
from headrace.gateway.dialects.anthropic.arguments import to_input
from headrace.gateway.dialects.anthropic.ids import HOME, to_message_id, to_own_signature, to_tool_use_id
from headrace.gateway.dialects.signing import to_signature, write_signature
from headrace.scheduler.base import Submission
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event, FinishReason, Usage
from headrace.schema.messages import ReasoningPart, TextPart, ToolCallPart

Thinking = Literal["none", "shown", "omitted"]
"""Whether a message has blocks of thoughts, and whether these say what was thought."""


class CountRendering:
    """Writes the answer to a token count, which is never streamed.

    Args:
        submission: the call.
    """

    def __init__(self, submission: Submission) -> None:
        self._submission = submission

    def render_events(self, events: Sequence[Event]) -> bytes:  # noqa: ARG002 - it is part of the protocol
        """Return nothing."""
        return b""

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body."""
        return msgspec.json.encode(TokensCount(answer.usage.input_tokens))


def to_message(answer: Answer, *, request_id: str, model: str, thinking: Thinking) -> MessageAnswer:
    """Return the body of a whole answer.

    Raises:
        HeadraceError: `stream_broken`: the answer was given up.
    """
    if len(answer.sequences) != 1:
        raise broken_message()
    sequence = answer.sequences[0]
    stop = to_stop(sequence.finish_reason, sequence.stop_sequence)
    return MessageAnswer(
        id=to_message_id(request_id),
        model=model,
        content=_to_content(sequence, request_id, thinking),
        stop_reason=stop.stop_reason,
        stop_sequence=stop.stop_sequence,
        stop_details=stop.stop_details,
        usage=to_message_usage(answer.usage),
    )


def _to_content(sequence: SequenceAnswer, request_id: str, thinking: Thinking) -> tuple[Content, ...]:
    content: list[Content] = []
    for part in sequence.parts:
        match part:
            case ReasoningPart():
                if thinking != "none":
                    content.append(_to_thought(part, request_id, thinking))
            case TextPart():
                _add_text(content, part.text)
            case ToolCallPart():
                id_ = to_tool_use_id(part.id, to_signature(part))
                content.append(ToolUseContent(id=id_, name=part.name, input=to_input(part.arguments)))
            case _:
                assert_never(part)
    return tuple(content)


def _add_text(content: list[Content], text: str) -> None:
    """Add text; what is not shown between two texts does not part them."""
    last = content[-1] if content else None
    if isinstance(last, TextContent):
        content[-1] = TextContent(text=last.text + text)
    elif text:
        content.append(TextContent(text=text))


def _to_thought(part: ReasoningPart, request_id: str, thinking: Thinking) -> Content:
    signature = to_signature(part)
    if signature is not None and part.is_redacted:
        return RedactedThinkingContent(data=write_signature(signature, home=HOME))
    return ThinkingContent(
        thinking=part.text if thinking == "shown" else "",
        signature=to_own_signature(request_id) if signature is None else write_signature(signature, home=HOME),
    )


def to_stop(reason: FinishReason, stop_sequence: str | None) -> StopDelta:
    """Return why a message ended.

    Raises:
        HeadraceError: `stream_broken`: it was given up.
    """
    details = RefusalStopDetails() if reason == "content_filter" else None
    # A sequence that a stop text cut after it had made calls has ended with the calls.
    stop = stop_sequence if reason == "stop" else None
    return StopDelta(stop_reason=_to_stop_reason(reason, stop), stop_sequence=stop, stop_details=details)


def _to_stop_reason(reason: FinishReason, stop_sequence: str | None) -> StopReason:
    match reason:
        case "stop":
            return "end_turn" if stop_sequence is None else "stop_sequence"
        case "length":
            return "max_tokens"
        case "tool_calls":
            return "tool_use"
        case "content_filter":
            return "refusal"
        case "cancelled" | "error":
            raise broken_message()
        case _:
            assert_never(reason)


def to_message_usage(usage: Usage) -> MessageUsage:
    """Return the token counts of a message. What came out of the cache is counted apart, as Anthropic does."""
    return MessageUsage(
        input_tokens=usage.input_tokens - usage.cached_tokens,
        cache_read_input_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        output_tokens_details=OutputTokensDetails(usage.reasoning_tokens),
    )


def to_delta_usage(usage: Usage) -> DeltaUsage:
    """Return the token counts at the end of a stream."""
    return DeltaUsage(
        input_tokens=usage.input_tokens - usage.cached_tokens,
        cache_read_input_tokens=usage.cached_tokens,
        output_tokens=usage.output_tokens,
        output_tokens_details=OutputTokensDetails(usage.reasoning_tokens),
    )


def broken_message() -> HeadraceError:
    """Return the failure of an answer that was given up."""
    return HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before it was whole")
