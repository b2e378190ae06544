"""One try at one target: reads what it says to the end, or gives it up where it says nothing for too long."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing

from msgspec import Struct, structs

from headrace.gateway.routing.decide import TargetFailure, failure_of, failure_of_end, fault_of_code
from headrace.gateway.routing.facts import FINISHED, TargetTried
from headrace.gateway.routing.table import Target
from headrace.gateway.routing.telling import Telling
from headrace.gateway.unexpected import report_unexpected
from headrace.providers.base import Fault
from headrace.scheduler.base import Generation, GenerationRecord, Submission
from headrace.schema.errors import ErrorCode, HeadraceError, answer_for
from headrace.schema.events import Event, GenerationFailed

Batches = Generation | AsyncGenerator[list[Event], None]


class Patience(Struct, frozen=True, kw_only=True):
    """How long a target may say nothing, in seconds; None is up to the deadline.

    Attributes:
        start_seconds: until it says that it has begun.
        text_seconds: from then on until it says something of its answer.
    """

    start_seconds: float | None = None
    text_seconds: float | None = None


ENDLESS = Patience()


class TargetTry:
    """One call of a provider, or one generation of ours.

    Attributes:
        target: who is tried.
        telling: what it has said.
        own: the generation of ours, if it is one.
        task_id: the id of that generation, where it is another one than the request's.

    Args:
        target: who is tried.
        submission: what it is asked.
        tell: tells the reader.
    """

    def __init__(self, target: Target, submission: Submission, tell: Callable[[Sequence[Event]], None]) -> None:
        self.target = target
        self.telling = Telling(submission.request)
        self.own: Generation | None = None
        self.task_id = ""
        self._submission = submission
        self._tell = tell
        self._now = asyncio.get_running_loop().time
        self._began_at = self._now()
        self._first_token_at: float | None = None

    @property
    def record(self) -> GenerationRecord:
        """What it has cost so far, as one attempt."""
        if self.own is not None:
            return structs.replace(self.own.record, task_id=self.task_id)
        return GenerationRecord(
            route=self.target.route, target=self.target.model, usage=self.telling.usage, task_id=self.task_id
        )

    async def refuse_wait(self, most_seconds: float) -> TargetFailure | None:
        """Give a generation of ours up if it is expected to wait for longer; return None if it is not."""
        queued = None if self.own is None else self.own.queued
        if self.own is None or queued is None or queued.eta_seconds is None or queued.eta_seconds <= most_seconds:
            return None
        await self.own.aclose()
        failure = self._fail(ErrorCode.OVERLOADED, "the wait for a worker would be too long", was_slow=True)
        return structs.replace(failure, was_expected=True)

    async def read(self, batches: Batches, patience: Patience) -> TargetFailure | None:
        """Tell what the target says to its end; return how it failed, if nothing of it was told before."""
        try:
            async with asyncio.timeout(patience.start_seconds) as waiting, aclosing(batches):
                async for batch in batches:
                    had_started = self.telling.has_started
                    self._take(batch)
                    if self.telling.end is not None:
                        break
                    if self.telling.has_told:
                        waiting.reschedule(None)
                    elif self.telling.has_started and not had_started:
                        seconds = patience.text_seconds
                        waiting.reschedule(None if seconds is None else self._now() + seconds)
        except TimeoutError:
            failure = self._fail_slow()
        except HeadraceError as error:
            failure = failure_of(error, self.target)
        except Exception as error:  # noqa: BLE001 - an edge: what breaks its contract fails its try, and no more
            message = report_unexpected(error, request_id=self._submission.request_id).message
            failure = self._fail(ErrorCode.INTERNAL_ERROR, message)
        else:
            failure = self._failure_of_end()
        if failure is not None and self.telling.has_told:
            self._break(failure)
            return None
        return failure

    def _take(self, batch: Sequence[Event]) -> None:
        if told := self.telling.take(batch):
            self._tell(told)
        if self.telling.has_text and self._first_token_at is None:
            self._first_token_at = self._now()

    def _failure_of_end(self) -> TargetFailure | None:
        end = self.telling.end
        if end is None:
            code = ErrorCode.PROVIDER_ERROR if self.target.provider else ErrorCode.STREAM_BROKEN
            return self._fail(code, "the answer ended before it was whole")
        if isinstance(end, GenerationFailed) and not self.telling.has_told:
            return failure_of_end(end, self.target)
        return None

    def _break(self, failure: TargetFailure) -> None:
        """End a stream that broke, which nobody else may go on with."""
        retryable = answer_for(failure.code).retryable
        self._take((GenerationFailed(failure.code, failure.message, "decode", retryable, None, failure.param),))

    def _fail_slow(self) -> TargetFailure:
        if self.target.provider:
            return self._fail(ErrorCode.PROVIDER_TIMEOUT, "the provider said nothing for too long", was_slow=True)
        return self._fail(ErrorCode.OVERLOADED, "the wait for a worker was too long", was_slow=True)

    def _fail(self, code: ErrorCode, message: str, *, was_slow: bool = False) -> TargetFailure:
        fault = Fault.UPSTREAM if self.target.provider else None
        return TargetFailure(target=self.target, code=code, message=message, fault=fault, was_slow=was_slow)

    def sign_of_health(self, failure: TargetFailure | None) -> TargetFailure | None:
        """Return what counts against the target, or None if it answered as it should.

        Args:
            failure: how it failed before it told anything, if it did.
        """
        end = self.telling.end
        if failure is None and isinstance(end, GenerationFailed) and fault_of_code(end.code) is not None:
            return failure_of_end(end, self.target)
        return failure

    def fact(self, route: str, outcome: str | None) -> TargetTried:
        """Return what is to be said about it when it is over.

        Args:
            route: the served name that was asked for.
            outcome: the code of the failure before it told anything; None for what its end says.
        """
        end = self.telling.end
        first = self._first_token_at
        return TargetTried(
            request_id=self._submission.request_id,
            route=route,
            target=self.target.name,
            outcome=outcome or (end.code if isinstance(end, GenerationFailed) else FINISHED),
            was_told=self.telling.has_told,
            first_token_seconds=None if first is None else first - self._began_at,
        )
