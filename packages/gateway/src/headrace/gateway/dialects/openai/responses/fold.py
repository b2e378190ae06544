"""Folds the events of a generation into a response, and says what it is at each moment."""

import time
from collections.abc import Callable, Sequence
from typing import assert_never

from msgspec import structs

from headrace.gateway.dialects.openai.responses.objects import (
    IncompleteDetails,
    InputTokensDetails,
    OutputTokensDetails,
    ResponseError,
    ResponseObject,
    ResponseUsage,
    Status,
)
from headrace.gateway.dialects.openai.responses.output import OutputFold, OutputListener
from headrace.gateway.failure import Failure, failure_of_code, failure_of_event
from headrace.schema.errors import ErrorCode
from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)

Clock = Callable[[], float]

_CUT_OFF = {
    "length": IncompleteDetails(reason="max_output_tokens"),
    "content_filter": IncompleteDetails(reason="content_filter"),
}


class ResponseFold:
    """A response while it is made.

    Args:
        created: the response before anything has come of it.
        listener: is told what becomes of its items.
        clock: the time, Unix seconds.

    Attributes:
        created: the response before anything has come of it.
        has_begun: whether a worker has taken it.
        failure: what it failed of, if it did.
        ended: the response, once it has ended.
    """

    def __init__(self, created: ResponseObject, listener: OutputListener, *, clock: Clock = time.time) -> None:
        self.created = created
        self.has_begun = False
        self.failure: Failure | None = None
        self.ended: ResponseObject | None = None
        self._output = OutputFold(created.id, listener)
        self._reason: FinishReason | None = None
        self._clock = clock

    def add_all(self, events: Sequence[Event]) -> None:
        """Take the next events of the stream."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take the next event."""
        match event:
            case SequenceDelta():
                self.has_begun = True
                self._output.add(event)
            case SequenceFinished(finish_reason=reason):
                self._finish_sequence(reason)
            case GenerationFinished(usage=usage):
                self._finish(usage)
            case GenerationFailed():
                self._fail(failure_of_event(event), event.usage)
            case GenerationStarted() | SequenceStarted():
                self.has_begun = True
            case GenerationQueued() | PromptEchoed() | PromptEmbedded():
                pass
            case _:
                assert_never(event)

    def snapshot(self) -> ResponseObject:
        """Return what there is to show of it now; its output is shown when it has ended."""
        if self.ended is not None:
            return self.ended
        return structs.replace(self.created, status="in_progress") if self.has_begun else self.created

    def cancel(self) -> ResponseObject:
        """End it where it stands, unless it has ended."""
        if self.ended is None:
            self.ended = self._close("cancelled", usage=None)
        return self.ended

    def _finish_sequence(self, reason: FinishReason) -> None:
        # A sequence that was given up has an item without an end, and the failure follows.
        if reason not in ("cancelled", "error"):
            self._reason = reason
            self._output.end(reason)

    def _finish(self, usage: Usage) -> None:
        if self._reason is None:
            self._fail(failure_of_code(ErrorCode.STREAM_BROKEN, "the answer ended before it was whole"), usage)
            return
        details = _CUT_OFF.get(self._reason)
        whole = self._close("incomplete" if details else "completed", usage=usage)
        completed_at = None if details else int(self._clock())
        self.ended = structs.replace(whole, incomplete_details=details, completed_at=completed_at)

    def _fail(self, failure: Failure, usage: Usage | None) -> None:
        self.failure = failure
        if failure.code == ErrorCode.CANCELLED:
            self.ended = self._close("cancelled", usage=usage)
        else:
            self.ended = structs.replace(self._close("failed", usage=usage), error=_to_response_error(failure))

    def _close(self, status: Status, *, usage: Usage | None) -> ResponseObject:
        shown = None if usage is None else to_usage(usage)
        return structs.replace(self.created, status=status, output=self._output.to_items(), usage=shown)


def to_usage(usage: Usage) -> ResponseUsage:
    """Return the token counts."""
    return ResponseUsage(
        input_tokens=usage.input_tokens,
        input_tokens_details=InputTokensDetails(cached_tokens=usage.cached_tokens),
        output_tokens=usage.output_tokens,
        output_tokens_details=OutputTokensDetails(reasoning_tokens=usage.reasoning_tokens),
        total_tokens=usage.input_tokens + usage.output_tokens,
    )


def _to_response_error(failure: Failure) -> ResponseError:
    if failure.status == 429:
        return ResponseError(code="rate_limit_exceeded", message=failure.message)
    if failure.status < 500:
        return ResponseError(code="invalid_prompt", message=failure.message)
    return ResponseError(code="server_error", message=failure.message)
