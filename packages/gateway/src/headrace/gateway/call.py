"""One call from its submission to its end: what it was, when things happened, how it ended."""

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from headrace.gateway.dialects.base import Order
from headrace.gateway.facts import FINISHED, CallEnded, CallOpened, GatewayObserver
from headrace.gateway.failure import Failure
from headrace.gateway.headers import request_id_headers
from headrace.scheduler.base import Generation, GenerationRecord, Submission
from headrace.schema.errors import ErrorCode, answer_for
from headrace.schema.events import Event, GenerationFailed, GenerationFinished, SequenceDelta, Usage


class Submits(Protocol):
    """Where a call gets its generation."""

    async def submit(self, submission: Submission) -> Generation:
        """Return the generation; see `GenerationSource`."""
        ...


class Call:
    """Collects what is to be said about a call, and says it once.

    Attributes:
        order: what was asked for.
        client_left: set when the client goes away.
        status: the HTTP status of the answer, once it is known.
        record: who ran it, once it was submitted.
        headers: what every answer to it says: its id, and what is special about it.

    Args:
        order: what was asked for.
        observers: are told of it.
        headers: what is special about its answer.
    """

    def __init__(
        self, order: Order, observers: Sequence[GatewayObserver], *, headers: Mapping[str, str] | None = None
    ) -> None:
        self.order = order
        self.headers = {**request_id_headers(order.submission.request_id), **(headers or {})}
        self.client_left = False
        self.status = 200
        self.record: GenerationRecord | None = None
        self._observers = observers
        self._outcome: str | None = None
        self._usage: Usage | None = None
        self._opened_at = 0.0
        self._first_event_at: float | None = None
        self._first_token_at: float | None = None
        self._opened = CallOpened(
            request_id=order.submission.request_id,
            dialect=order.dialect.name,
            model=order.submission.request.model,
            stream=order.stream,
            tenant_id=order.submission.caller.tenant_id,
            key_id=order.submission.caller.key_id,
        )

    def open(self) -> None:
        """Say that it begins."""
        self._opened_at = time.perf_counter()
        for observer in self._observers:
            observer.call_opened(self._opened)

    def note(self, events: Sequence[Event]) -> None:
        """Take the times and the end out of a batch."""
        if self._first_token_at is None:
            now = time.perf_counter()
            if self._first_event_at is None:
                self._first_event_at = now
            if any(isinstance(event, SequenceDelta) for event in events):
                self._first_token_at = now
        last = events[-1]
        if isinstance(last, GenerationFinished):
            self._outcome, self._usage = FINISHED, last.usage
        elif isinstance(last, GenerationFailed):
            self._outcome, self._usage = last.code, last.usage

    def fail(self, failure: Failure) -> None:
        """Note that it ends with this failure, and that its answer has the failure's status."""
        self._outcome = failure.code
        self.status = self.order.dialect.status_of(failure)

    def close(self) -> None:
        """Say how it ended. What has no outcome by now was given up, by the client or by the process."""
        outcome = self._outcome or ErrorCode.CANCELLED
        if self._outcome is None:
            self.status = answer_for(outcome).status
        fact = CallEnded(
            call=self._opened,
            status=self.status,
            outcome=outcome,
            client_left=self.client_left,
            usage=self._usage,
            first_event_seconds=self._since_opening(self._first_event_at),
            first_token_seconds=self._since_opening(self._first_token_at),
            total_seconds=time.perf_counter() - self._opened_at,
            record=self.record,
        )
        for observer in self._observers:
            observer.call_ended(fact)

    def _since_opening(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self._opened_at
