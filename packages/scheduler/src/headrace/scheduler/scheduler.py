"""The scheduler of one gateway replica: submits tasks, dispatches chunks, and answers for every request it accepted."""

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from headrace.scheduler.attempts import (
    CONFIRM_AFTER_OUTAGE_SECONDS,
    CONFIRM_SECONDS,
    OUTAGE_REMEMBERED_SECONDS,
    Confirmation,
)
from headrace.scheduler.base import Submission
from headrace.scheduler.generation import MailboxGeneration
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.mailbox import Mailbox
from headrace.scheduler.observer import GenerationEnded, SchedulerObserver
from headrace.scheduler.waiting import Ticket, WaitingLines
from headrace.schema.checks import check_request
from headrace.schema.codec import CodecError
from headrace.schema.control import (
    AttemptGranted,
    AttemptRefused,
    CancelGeneration,
    ConfirmAttempt,
    ControlMessage,
    ResendReplies,
)
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import AttemptQuery, AttemptRunning, GenerationStarted, ReplyItem, StreamChunk
from headrace.schema.payload import PayloadRef
from headrace.schema.settings import SchedulerSettings
from headrace.schema.task import GenerationTask
from headrace.transport.base import SchedulerTransport, TransportUnavailableError

# The worker enforces the deadline and knows the usage; the scheduler steps in only where no worker does.
DEADLINE_GRACE_SECONDS = 0.25
FIRST_CONNECTION_SECONDS = 2.0
# A worker is asked to tell an attempt again; where that does not come, the stream is broken.
GAP_SECONDS = 5.0


class _Entry(Struct):
    """A request in flight."""

    mailbox: Mailbox
    deadline: float
    submitted_at: float
    timer: asyncio.TimerHandle
    ticket: Ticket | None
    gap_timer: asyncio.TimerHandle | None = None
    confirmation: Confirmation | None = None
    payload: PayloadRef | None = None

    def end_timers(self) -> None:
        self.timer.cancel()
        if self.gap_timer is not None:
            self.gap_timer.cancel()
        if self.confirmation is not None:
            self.confirmation.cancel()


class Scheduler:
    """A `GenerationSource` over a transport.

    Args:
        transport: how tasks leave and chunks come back. The scheduler starts and closes it.
        models: the served names, each with the model whose workers answer to it.
        settings: timeouts and limits.
        observers: who gets the facts.
        clock: Unix seconds.
        gap_seconds: how long a worker has to tell again what did not arrive.
        large: moves requests that are too large for the broker; None sends all of them through it.
    """

    def __init__(
        self,
        transport: SchedulerTransport,
        *,
        models: Mapping[str, str],
        settings: SchedulerSettings,
        observers: Sequence[SchedulerObserver] = (),
        clock: Callable[[], float] = time.time,
        gap_seconds: float = GAP_SECONDS,
        large: LargeRequests | None = None,
    ) -> None:
        self._transport = transport
        self._models = models
        self._settings = settings
        self._observers = observers
        self._clock = clock
        self._gap_seconds = gap_seconds
        self._large = large
        self._entries: dict[str, _Entry] = {}
        self._waiting = WaitingLines()
        self._is_closing = False
        self._was_connected = False
        self._restored_at = -math.inf

    @property
    def in_flight(self) -> int:
        """Generations without a terminal event."""
        return len(self._entries)

    async def start(self) -> None:
        """Begin to connect."""
        await self._transport.start(self)
        if self._large is not None:
            self._large.start()

    async def check(self) -> None:
        """Raise `broker_unavailable`, with the reason, unless a request could be accepted now."""
        try:
            await self._transport.check()
        except TransportUnavailableError as error:
            raise HeadraceError(ErrorCode.BROKER_UNAVAILABLE, str(error)) from None

    async def submit(self, submission: Submission) -> MailboxGeneration:
        """Accept a request and publish its task; see `GenerationSource`."""
        request = submission.request
        if self._is_closing:
            raise HeadraceError(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
        deployment = self._models.get(request.model)
        if deployment is None:
            raise HeadraceError(ErrorCode.MODEL_NOT_FOUND, f"the model {request.model!r} does not exist", param="model")
        check_request(request)
        if len(self._entries) >= self._settings.max_in_flight:
            raise HeadraceError(ErrorCode.OVERLOADED, "this gateway holds as many requests as it may; try again soon")
        if submission.request_id in self._entries:
            raise HeadraceError(ErrorCode.CONFLICT, "a request with this id is running")
        now = self._clock()
        timeout = submission.timeout_seconds or self._settings.request_timeout_seconds
        await self._wait_first_connection(min(timeout, FIRST_CONNECTION_SECONDS))
        task = GenerationTask(
            request_id=submission.request_id,
            reply_address=self._transport.reply_address,
            submitted_at=now,
            deadline=now + timeout,
            priority=self._settings.default_priority if submission.priority is None else submission.priority,
            request=request,
            deployment="" if deployment == request.model else deployment,
            lane=submission.lane,
            tenant=submission.caller.tenant_id,
        )
        if self._large is not None:
            task = await self._large.move(task)
        try:
            return self._open(task)
        except BaseException:
            self._discard_payload(task.payload)
            raise

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

    def _open(self, task: GenerationTask) -> MailboxGeneration:
        mailbox = Mailbox(
            task.request_id,
            model=task.deployment or task.request.model,
            shows_token_ids=task.request.output.token_ids,
            shows_reasoning=task.request.output.reasoning,
        )
        try:
            self._transport.publish_task(task)
        except TransportUnavailableError as error:
            raise HeadraceError(ErrorCode.BROKER_UNAVAILABLE, f"{error}; try again soon") from None
        except CodecError as error:
            # Everything else in a request is bounded by its type.
            param = "generation_parameters.provider_extensions"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, str(error), param=param) from None
        loop = asyncio.get_running_loop()
        timer = loop.call_later(task.deadline - self._clock() + DEADLINE_GRACE_SECONDS, self._expire, task.request_id)
        # Kept by the transport while the broker is away: it is not waited for without end.
        loop.call_later(self._settings.publish_wait_seconds, self._give_up_unsent, task.request_id)
        ticket = self._waiting.enter(mailbox, priority=task.priority, asked=task.request.output.queue_position)
        self._entries[task.request_id] = _Entry(
            mailbox, task.deadline, task.submitted_at, timer, ticket, payload=task.payload
        )
        for observer in self._observers:
            observer.generation_accepted(mailbox.model)
        return MailboxGeneration(mailbox, self.cancel)

    def _give_up_unsent(self, request_id: str) -> None:
        if request_id in self._entries and self._transport.withdraw_task(request_id):
            self.reject_task(request_id, "the broker was away for too long")

    def receive_replies(self, items: Sequence[ReplyItem]) -> None:
        """Put each chunk into its mailbox, and answer workers that ask about a redelivered task."""
        for item in items:
            entry = self._entries.get(item.request_id)
            if type(item) is StreamChunk:
                if entry is None:
                    self._disown(item)
                elif item.attempt < entry.mailbox.attempt:
                    self._disown(item, up_to_attempt=item.attempt)
                else:
                    self._accept(item, entry)
            elif type(item) is AttemptQuery:
                self._answer_query(item, entry)
            elif type(item) is AttemptRunning and entry is not None:
                self._note_running(item, entry)

    def _accept(self, chunk: StreamChunk, entry: _Entry) -> None:
        mailbox = entry.mailbox
        mailbox.accept(chunk)
        if entry.ticket is not None and mailbox.worker_id is not None:
            self._end_wait(entry, entry.ticket)
        if mailbox.is_missing and entry.gap_timer is None:
            self._ask_again(entry)
        elif not mailbox.is_missing and entry.gap_timer is not None:
            entry.gap_timer.cancel()
            entry.gap_timer = None
        if mailbox.has_ended:
            self._finish(entry)

    def _ask_again(self, entry: _Entry) -> None:
        """Have an attempt told from its start, because a part of it did not arrive."""
        mailbox = entry.mailbox
        entry.gap_timer = asyncio.get_running_loop().call_later(self._gap_seconds, self._give_up_gap, entry)
        self._transport.send_control(
            ResendReplies(mailbox.request_id, mailbox.attempt), model=mailbox.model, worker_id=mailbox.worker_id
        )

    def _give_up_gap(self, entry: _Entry) -> None:
        message = "a part of the answer was lost on its way; send the request again"
        self._end_early(entry, ErrorCode.STREAM_BROKEN, message)

    def _end_wait(self, entry: _Entry, ticket: Ticket) -> None:
        self._waiting.leave(ticket)
        entry.ticket = None

    def _finish(self, entry: _Entry) -> None:
        failure = entry.mailbox.failure
        if failure is not None and failure.code in (ErrorCode.STREAM_BROKEN, ErrorCode.WORKER_LOST):
            # The end came from the mailbox and not from the worker, which would run on for nobody.
            self._send_cancel(entry)
        self._retire(entry)

    def _disown(self, chunk: StreamChunk, *, up_to_attempt: int = 0) -> None:
        """Stop a worker that began something nobody waits for any more."""
        for event in chunk.events:
            if isinstance(event, GenerationStarted):
                message = CancelGeneration(chunk.request_id, self._clock(), up_to_attempt)
                self._transport.send_control(message, model="", worker_id=event.worker_id)

    def _answer_query(self, query: AttemptQuery, entry: _Entry | None) -> None:
        if entry is None:
            self._send_to(query.worker_id, AttemptRefused(query.request_id))
            return
        mailbox = entry.mailbox
        runner = mailbox.worker_id or mailbox.granted_to
        if runner is None or runner == query.worker_id:
            self._grant_attempt(query.worker_id, entry)
        elif entry.confirmation is None:
            entry.confirmation = Confirmation(
                runner,
                query.worker_id,
                seconds=self._confirm_seconds(),
                grant=lambda asker_id: self._grant_attempt(asker_id, entry),
            )
            self._send_to(runner, ConfirmAttempt(mailbox.request_id, mailbox.attempt))

    def _confirm_seconds(self) -> float:
        since_outage = asyncio.get_running_loop().time() - self._restored_at
        return CONFIRM_AFTER_OUTAGE_SECONDS if since_outage < OUTAGE_REMEMBERED_SECONDS else CONFIRM_SECONDS

    def _note_running(self, item: AttemptRunning, entry: _Entry) -> None:
        confirmation = entry.confirmation
        if confirmation is not None and confirmation.worker_id == item.worker_id:
            confirmation.cancel()
            entry.confirmation = None

    def lose_worker(self, worker_id: str) -> None:
        """Grant what was run by a worker that is gone to those who asked for it."""
        for entry in list(self._entries.values()):
            if entry.confirmation is not None and entry.confirmation.worker_id == worker_id:
                entry.confirmation.lose_worker()

    def _send_to(self, worker_id: str, message: ControlMessage) -> None:
        self._transport.send_control(message, model="", worker_id=worker_id)

    def _why_not_again(self, mailbox: Mailbox) -> str | None:
        if mailbox.attempt >= self._settings.max_attempts:
            return f"{mailbox.attempt} workers were lost while they ran this request; it is not tried again"
        if not mailbox.can_continue:
            # A second sample can't be spliced onto the first: the client must send the request again.
            return "the worker that ran this request was lost; send the request again"
        return None

    def _grant_attempt(self, worker_id: str, entry: _Entry) -> None:
        """Let a worker run the next attempt, or end the request where there is to be none."""
        mailbox = entry.mailbox
        entry.confirmation = None
        previous, before = mailbox.worker_id or mailbox.granted_to, mailbox.attempt
        is_known = mailbox.granted_to == worker_id and mailbox.worker_id is None
        if not is_known and (reason := self._why_not_again(mailbox)):
            self._end_early(entry, ErrorCode.WORKER_LOST, reason)
            self._send_to(worker_id, AttemptRefused(mailbox.request_id, reason))
            return
        if previous is not None and previous != worker_id:
            # It may live on without its broker connection; whatever it still sends is fenced off.
            self._send_to(previous, CancelGeneration(mailbox.request_id, entry.deadline, up_to_attempt=before))
        attempt = mailbox.begin_attempt(worker_id)
        self._send_to(worker_id, AttemptGranted(mailbox.request_id, attempt, mailbox.told()))
        if attempt != before:
            for observer in self._observers:
                observer.attempt_opened(mailbox.model)

    def reject_task(self, request_id: str, reason: str) -> None:
        """Fail a request whose task the broker did not take."""
        if (entry := self._entries.get(request_id)) is not None:
            entry.mailbox.fail(ErrorCode.BROKER_UNAVAILABLE, f"{reason}; try again soon")
            self._retire(entry)

    def restore_reply_path(self) -> None:
        """Have told again what may have been lost while nobody read our replies."""
        self._restored_at = asyncio.get_running_loop().time()
        for entry in list(self._entries.values()):
            mailbox = entry.mailbox
            message = ResendReplies(mailbox.request_id, mailbox.attempt)
            self._transport.send_control(message, model=mailbox.model, worker_id=mailbox.worker_id)

    def cancel(self, request_id: str) -> bool:
        """Cancel a generation wherever it is; see `GenerationSource`."""
        if (entry := self._entries.get(request_id)) is None:
            return False
        self._end_early(entry, ErrorCode.CANCELLED, "the request was cancelled")
        return True

    def _expire(self, request_id: str) -> None:
        if (entry := self._entries.get(request_id)) is not None:
            self._end_early(entry, ErrorCode.DEADLINE_EXCEEDED, "the request did not end before its deadline")

    def _end_early(self, entry: _Entry, code: ErrorCode, message: str) -> None:
        entry.mailbox.fail(code, message)
        self._send_cancel(entry)
        self._retire(entry)

    def _send_cancel(self, entry: _Entry) -> None:
        mailbox = entry.mailbox
        message = CancelGeneration(mailbox.request_id, entry.deadline)
        self._transport.send_control(message, model=mailbox.model, worker_id=mailbox.worker_id)

    def _retire(self, entry: _Entry) -> None:
        mailbox = entry.mailbox
        if self._entries.pop(mailbox.request_id, None) is None:
            return
        entry.end_timers()
        self._transport.withdraw_task(mailbox.request_id)
        self._discard_payload(entry.payload)
        if entry.ticket is not None:
            self._end_wait(entry, entry.ticket)
        fact = GenerationEnded(
            request_id=mailbox.request_id,
            model=mailbox.model,
            outcome="finished" if mailbox.failure is None else mailbox.failure.code,
            attempts=mailbox.attempt,
            seconds=self._clock() - entry.submitted_at,
            usage=mailbox.usage,
        )
        for observer in self._observers:
            observer.generation_ended(fact)

    def _discard_payload(self, ref: PayloadRef | None) -> None:
        if ref is not None and self._large is not None:
            self._large.discard(ref)

    def end_all(self, code: ErrorCode, message: str) -> None:
        """Refuse new requests, and give every stream that still runs its terminal event."""
        self._is_closing = True
        for entry in list(self._entries.values()):
            self._end_early(entry, code, message)

    async def close(self) -> None:
        """Refuse new requests, cancel those still running, and close the transport."""
        self.end_all(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
        await self._transport.close()
        if self._large is not None:
            await self._large.close()
