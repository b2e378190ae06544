"""From a submission to a task in its queue."""

import asyncio
import time
from collections.abc import Callable

from headrace.scheduler.ageing import AgeingPolicy
from headrace.scheduler.base import Submission
from headrace.scheduler.large import LargeRequests
from headrace.schema.codec import CodecError
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.payload import PayloadRef
from headrace.schema.settings import SchedulerSettings
from headrace.schema.task import GenerationTask
from headrace.transport.base import SchedulerTransport, TransportUnavailableError

FIRST_CONNECTION_SECONDS = 2.0


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
        priority = self._settings.default_priority if submission.priority is None else submission.priority
        ask_after = self._policy.ask_after(submission.lane, priority)
        task = GenerationTask(
            request_id=submission.request_id,
            reply_address=self._transport.reply_address,
            submitted_at=now,
            deadline=now + timeout,
            priority=priority,
            request=request,
            deployment="" if deployment == request.model else deployment,
            lane=submission.lane,
            tenant=submission.caller.tenant_id,
            ask_after=0.0 if ask_after is None else now + ask_after,
            retained=submission.retained,
        )
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
