"""From a submission to a task in its queue."""

import asyncio
import time
from collections.abc import Callable

from headrace.scheduler.ageing import AgeingPolicy
from headrace.scheduler.base import Adoption, Submission
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.silence import SILENT_SECONDS, YOUNGEST_SILENCES
from headrace.schema.codec import CodecError
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.names import Lane
from headrace.schema.payload import PayloadRef
from headrace.schema.settings import SchedulerSettings
from headrace.schema.task import GenerationTask
from headrace.transport.base import SchedulerTransport, TransportUnavailableError

FIRST_CONNECTION_SECONDS = 2.0
# Whoever adopts a retained task may publish it again after so long, and by then whoever picks it up has to ask. Clocks
# differ a little, and a pickup takes a moment to be known.
RETAINED_ASK_SECONDS = YOUNGEST_SILENCES * SILENT_SECONDS - 2.0


class Publisher:
    """Makes tasks and hands them to the transport; what that says against it is turned into answers for a client.

    Args:
        transport: how tasks leave.
        settings: timeouts and the default priority.
        policy: when copies of a task may be made.
        large: moves requests that are too large for the broker; None sends all of them through it.
        clock: Unix seconds.
    """

    def __init__(
        self,
        transport: SchedulerTransport,
        settings: SchedulerSettings,
        *,
        policy: AgeingPolicy,
        large: LargeRequests | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._settings = settings
        self._policy = policy
        self._large = large
        self._clock = clock
        self._was_connected = False

    def start(self) -> None:
        """Begin to sweep what others have left in the object store."""
        if self._large is not None:
            self._large.start()

    async def check(self) -> None:
        """Raise `broker_unavailable`, with the reason, unless a task could be published now."""
        try:
            await self._transport.check()
        except TransportUnavailableError as error:
            raise HeadraceError(ErrorCode.BROKER_UNAVAILABLE, str(error)) from None

    async def make_task(self, submission: Submission, *, deployment: str) -> GenerationTask:
        """Return the task of a submission, its request moved into the object store where it is large.

        Raises:
            HeadraceError: `broker_unavailable`, `payload_lost`, `invalid_request`.
        """
        request, now = submission.request, self._clock()
        timeout = submission.timeout_seconds or self._settings.request_timeout_seconds
        await self._wait_first_connection(min(timeout, FIRST_CONNECTION_SECONDS))
        ask_after = self._find_ask_after(submission)
        task = GenerationTask(
            request_id=submission.request_id,
            reply_address=self._transport.reply_address,
            submitted_at=now,
            deadline=now + timeout,
            priority=self.priority_of(submission),
            request=request,
            deployment="" if deployment == request.model else deployment,
            lane=submission.lane,
            tenant=submission.caller.tenant_id,
            ask_after=0.0 if ask_after is None else now + ask_after,
            retained=submission.retained,
        )
        return await self._move(task)

    async def make_copy(self, adoption: Adoption, *, deployment: str, lane: Lane, copy: int) -> GenerationTask:
        """Return the task of a generation that another gateway began, as a copy of it, which asks before it runs.

        What is large is moved once more: where the first gateway put it is not known here.

        Raises:
            HeadraceError: `payload_lost`, `invalid_request`.
        """
        submission = adoption.submission
        task = GenerationTask(
            request_id=submission.request_id,
            reply_address=self._transport.reply_address,
            submitted_at=adoption.submitted_at,
            deadline=adoption.deadline,
            priority=self.priority_of(submission),
            request=submission.request,
            deployment="" if deployment == submission.request.model else deployment,
            is_repeat=True,
            lane=lane,
            tenant=submission.caller.tenant_id,
            retained=True,
            copy=copy,
        )
        return await self._move(task)

    def priority_of(self, submission: Submission) -> int:
        """Return the priority of a request: its own, or that of the setting."""
        return self._settings.default_priority if submission.priority is None else submission.priority

    def _find_ask_after(self, submission: Submission) -> float | None:
        """Return after how long a wait a task may have copies, in seconds; None where it never has."""
        aged = self._policy.ask_after(submission.lane, self.priority_of(submission))
        if not submission.retained:
            return aged
        return RETAINED_ASK_SECONDS if aged is None else min(aged, RETAINED_ASK_SECONDS)

    async def _move(self, task: GenerationTask) -> GenerationTask:
        return task if self._large is None else await self._large.move(task)

    async def _wait_first_connection(self, seconds: float) -> None:
        """Wait for a broker that was never there: where none ever was, it may not be worth waiting for longer."""
        if self._was_connected:
            return
        try:
            async with asyncio.timeout(seconds):
                await self._transport.wait_ready()
        except TimeoutError:
            await self.check()
        self._was_connected = True

    def publish(self, task: GenerationTask, *, level: int) -> None:
        """Publish a task, at a level of its queue.

        Raises:
            HeadraceError: `broker_unavailable`, `invalid_request`.
        """
        try:
            self._transport.publish_task(task, level=level)
        except TransportUnavailableError as error:
            raise HeadraceError(ErrorCode.BROKER_UNAVAILABLE, f"{error}; try again soon") from None
        except CodecError as error:
            # Everything else in a request is bounded by its type.
            param = "generation_parameters.provider_extensions"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, str(error), param=param) from None

    def discard_payload(self, ref: PayloadRef | None) -> None:
        """Remove what a request has in the object store, if it has anything there."""
        if ref is not None and self._large is not None:
            self._large.discard(ref)

    async def close(self) -> None:
        """Stop; what was not removed is left to the sweep of others."""
        if self._large is not None:
            await self._large.close()
