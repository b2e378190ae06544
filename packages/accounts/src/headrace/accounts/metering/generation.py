"""A generation that is settled at its end: when its terminal event is read, or when it is closed before."""

import asyncio
from collections.abc import Sequence

from headrace.accounts.ledger.base import FINISHED, UsageRow
from headrace.accounts.metering.settling import WAIT_SECONDS, Settling
from headrace.scheduler.base import Generation, GenerationRecord, Submission
from headrace.schema.caller import RateLimits
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event, GenerationFailed, GenerationFinished, GenerationQueued, SequenceDelta, Timings


class MeteredGeneration:
    """A `Generation` around another. Of each batch it looks at the last event only.

    Args:
        inner: the generation.
        submission: what it was asked for.
        settling: ends it.
        opened: done when the journal knows of it; None where it has no row.
        rate_limits: where its caller stands.
        started_at: when it was accepted, Unix seconds.
    """

    def __init__(
        self,
        inner: Generation,
        submission: Submission,
        *,
        settling: Settling,
        opened: "asyncio.Future[None] | None",
        rate_limits: RateLimits | None,
        started_at: float,
    ) -> None:
        self._inner = inner
        self._submission = submission
        self._settling = settling
        self._opened = opened
        self._rate_limits = rate_limits
        self._started_at = started_at
        self._recorded = opened is not None
        self._first_token_at: float | None = None
        self._ended = False
        self._is_seen = not self._recorded
        if self._recorded:
            settling.begin(self)

    @property
    def request_id(self) -> str:
        """The request."""
        return self._inner.request_id

    @property
    def record(self) -> GenerationRecord:
        """What it was."""
        return self._inner.record

    @property
    def rate_limits(self) -> RateLimits | None:
        """Where its caller stands."""
        return self._rate_limits

    @property
    def queued(self) -> GenerationQueued | None:
        """How it waits."""
        return self._inner.queued

    def __aiter__(self) -> "MeteredGeneration":
        return self

    async def __anext__(self) -> Sequence[Event]:
        if self._opened is not None:
            # Nothing is told to the client before the journal knows of it. The generation does not wait meanwhile.
            await self._opened
            self._opened = None
        try:
            batch = await self._inner.__anext__()
        except Exception as error:
            await self._end(_outcome_of(error), None)
            raise
        last = batch[-1]
        if type(last) is GenerationFinished:
            await self._end(FINISHED, last.timings)
        elif type(last) is GenerationFailed:
            await self._end(last.code, None)
        else:
            if self._first_token_at is None and type(last) is SequenceDelta:
                self._first_token_at = self._settling.now
            if not self._is_seen and not self._ended:
                self._see_prompt()
        return batch

    def _see_prompt(self) -> None:
        """Write the prompt down as soon as it is known how long it is: it may cost more than its answer."""
        if self._inner.record.usage.input_tokens:
            self._is_seen = True
            self._settling.see(self)

    async def aclose(self) -> None:
        """Close the generation, and settle it unless that is done."""
        try:
            await self._inner.aclose()
        finally:
            await self._end(ErrorCode.CANCELLED, None)

    async def _end(self, outcome: str, timings: Timings | None) -> None:
        if self._ended:
            return
        self._ended = True
        settled = self._settling.end(self._make_row(outcome, timings), recorded=self._recorded)
        # So that a client that has read the end finds its slot free. It is not kept waiting for a Redis that hangs.
        await asyncio.wait({settled}, timeout=WAIT_SECONDS)

    def _make_row(self, outcome: str, timings: Timings | None) -> UsageRow:
        record, caller, now = self._inner.record, self._submission.caller, self._settling.now
        usage = record.usage
        first_token = None if self._first_token_at is None else self._first_token_at - self._started_at
        return UsageRow(
            request_id=self.request_id,
            tenant_id=caller.tenant_id,
            key_id=caller.key_id,
            model=self._submission.request.model,
            route=record.route,
            target=record.target,
            attempts=record.attempts,
            lane=self._submission.lane,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cached_tokens=usage.cached_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            queue_ms=_milliseconds(timings.queue_seconds if timings else None),
            first_token_ms=_milliseconds(timings.first_token_seconds if timings else first_token),
            total_ms=max(0, round((now - self._started_at) * 1000)),
            outcome=outcome,
            started_at=round(self._started_at * 1000),
            ended_at=round(now * 1000),
        )


def _outcome_of(error: Exception) -> str:
    match error:
        case HeadraceError():
            return error.code
        case StopAsyncIteration():
            return ErrorCode.STREAM_BROKEN
        case _:
            return ErrorCode.INTERNAL_ERROR


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else max(0, round(seconds * 1000))
