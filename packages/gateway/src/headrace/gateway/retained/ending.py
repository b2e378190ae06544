"""How a retained generation ends that its source can't end well any more."""

from collections.abc import Sequence

from headrace.scheduler.base import GenerationRecord
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    Event,
    GenerationFailed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)


def close_events(told: Sequence[Event], failure: GenerationFailed) -> tuple[Event, ...]:
    """Return what ends a stream with a failure: every sequence that started finishes first."""
    open_: dict[int, None] = {}
    for event in told:
        if type(event) is SequenceStarted:
            open_[event.index] = None
        elif type(event) is SequenceFinished:
            open_.pop(event.index, None)
    reason = "cancelled" if failure.code == ErrorCode.CANCELLED else "error"
    return (*(SequenceFinished(index, reason) for index in open_), failure)


def too_large(limit_bytes: int, record: GenerationRecord) -> GenerationFailed:
    """Return the end of a generation whose events are more than may be kept."""
    message = f"the answer takes more than {limit_bytes} bytes, the most that is retained; ask for it without retention"
    return GenerationFailed(ErrorCode.PAYLOAD_TOO_LARGE, message, "decode", retryable=False, usage=record.usage)


def lost_before_queue() -> GenerationFailed:
    """Return the end of a generation whose gateway was lost before it had sent the task off."""
    message = "the gateway that took this request was lost before it was queued; send the request again"
    return GenerationFailed(ErrorCode.STREAM_BROKEN, message, "submit", retryable=True, usage=Usage(0, 0))


def frees_key(told: Sequence[Event], end: Event) -> bool:
    """Tell whether an end leaves the idempotency key to the next call: nothing was said, and another try may work."""
    if not isinstance(end, GenerationFailed) or not end.retryable:
        return False
    return not any(type(event) is SequenceDelta for event in told)
