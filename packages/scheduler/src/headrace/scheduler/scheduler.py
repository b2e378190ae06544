"""The scheduler of one gateway replica: submits tasks, dispatches chunks, and answers for every request it accepted."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from headrace.scheduler.base import Submission
from headrace.scheduler.generation import MailboxGeneration
from headrace.scheduler.mailbox import Mailbox
from headrace.scheduler.observer import GenerationEnded, SchedulerObserver
from headrace.scheduler.waiting import Ticket, WaitingLines
from headrace.schema.checks import check_request
from headrace.schema.codec import CodecError
from headrace.schema.control import AttemptGranted, AttemptRefused, CancelGeneration
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import AttemptQuery, GenerationStarted, ReplyItem, StreamChunk
from headrace.schema.settings import SchedulerSettings
from headrace.schema.task import GenerationTask
from headrace.transport.base import SchedulerTransport, TransportUnavailableError

# The worker enforces the deadline and knows the usage; the scheduler steps in only where no worker does.
DEADLINE_GRACE_SECONDS = 0.25


class _Entry(Struct):
    """A request in flight."""

    mailbox: Mailbox
    deadline: float
    submitted_at: float
    timer: asyncio.TimerHandle
    ticket: Ticket | None


class Scheduler:
    """A `GenerationSource` over a transport.

    Args:
        transport: how tasks leave and chunks come back. The scheduler starts and closes it.
        models: the served names, each with the model whose workers answer to it.
        settings: timeouts and limits.
        observers: who gets the facts.
        clock: Unix seconds.
    """

    def __init__(
        self,
        transport: SchedulerTransport,
        *,
        models: Mapping[str, str],
        settings: SchedulerSettings,
        observers: Sequence[SchedulerObserver] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._transport = transport
        self._models = models
        self._settings = settings
        self._observers = observers
        self._clock = clock
        self._entries: dict[str, _Entry] = {}
        self._waiting = WaitingLines()
        self._is_closing = False

    @property
    def in_flight(self) -> int:
        """Generations without a terminal event."""
        return len(self._entries)

    async def start(self) -> None:
        """Begin to connect."""
        await self._transport.start(self)

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
        address = await self._wait_for_reply_address(min(timeout, self._settings.publish_wait_seconds))
        task = GenerationTask(
            request_id=submission.request_id,
            reply_address=address,
            submitted_at=now,
            deadline=now + timeout,
            priority=self._settings.default_priority if submission.priority is None else submission.priority,
            request=request,
            deployment="" if deployment == request.model else deployment,
        )
        return self._open(task)

    async def _wait_for_reply_address(self, seconds: float) -> str:
        if (address := self._transport.reply_address) is not None:
            return address
        try:
            async with asyncio.timeout(seconds):
                await self._transport.wait_ready()
        except TimeoutError:
            await self.check()
        if (address := self._transport.reply_address) is None:
            raise HeadraceError(ErrorCode.BROKER_UNAVAILABLE, "the broker is not connected; try again soon")
        return address

    def _open(self, task: GenerationTask) -> MailboxGeneration:
        mailbox = Mailbox(
            task.request_id, model=task.deployment or task.request.model, reply_address=task.reply_address
        )
        try:
            self._transport.publish_task(task)
        except TransportUnavailableError as error:
            raise HeadraceError(ErrorCode.BROKER_UNAVAILABLE, f"{error}; try again soon") from None
        except CodecError as error:
            # Everything else in a request is bounded by its type.
            param = "generation_parameters.provider_extensions"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, str(error), param=param) from None
        timer = asyncio.get_running_loop().call_later(
            task.deadline - self._clock() + DEADLINE_GRACE_SECONDS, self._expire, task.request_id
        )
        ticket = self._waiting.enter(mailbox, priority=task.priority, asked=task.request.output.queue_position)
        self._entries[task.request_id] = _Entry(mailbox, task.deadline, task.submitted_at, timer, ticket)
        for observer in self._observers:
            observer.generation_accepted(mailbox.model)
        return MailboxGeneration(mailbox, self.cancel)

    def receive_replies(self, items: Sequence[ReplyItem]) -> None:
        """Put each chunk into its mailbox, and answer workers that ask about a redelivered task."""
        for item in items:
            entry = self._entries.get(item.request_id)
            if type(item) is StreamChunk:
                if entry is None:
                    self._disown(item)
                else:
                    entry.mailbox.accept(item)
                    if entry.ticket is not None and entry.mailbox.worker_id is not None:
                        self._end_wait(entry, entry.ticket)
                    if entry.mailbox.has_ended:
                        self._finish(entry)
            elif type(item) is AttemptQuery:
                self._answer_query(item, entry)

    def _end_wait(self, entry: _Entry, ticket: Ticket) -> None:
        self._waiting.leave(ticket)
        entry.ticket = None

    def _finish(self, entry: _Entry) -> None:
        failure = entry.mailbox.failure
        if failure is not None and failure.code == ErrorCode.STREAM_BROKEN:
            # The end came from the mailbox and not from the worker, which would run on for nobody.
            self._send_cancel(entry)
        self._retire(entry)

    def _disown(self, chunk: StreamChunk) -> None:
        """Stop a worker that began something nobody waits for any more."""
        for event in chunk.events:
            if isinstance(event, GenerationStarted):
                message = CancelGeneration(chunk.request_id, self._clock())
                self._transport.send_control(message, model="", worker_id=event.worker_id)

    def _answer_query(self, query: AttemptQuery, entry: _Entry | None) -> None:
        if entry is not None and (reason := self._why_not_again(entry.mailbox)):
            self._end_early(entry, ErrorCode.WORKER_LOST, reason)
            entry = None
        answer = AttemptRefused(query.request_id) if entry is None else self._grant_attempt(query, entry)
        self._transport.send_control(answer, model="", worker_id=query.worker_id)

    def _why_not_again(self, mailbox: Mailbox) -> str | None:
        if mailbox.has_text:
            # A second sample can't be spliced onto the first: the client must send the request again.
            return "the worker that ran this request was lost; send the request again"
        if mailbox.attempt >= self._settings.max_attempts:
            return f"{mailbox.attempt} workers were lost while they ran this request; it is not tried again"
        return None

    def _grant_attempt(self, query: AttemptQuery, entry: _Entry) -> AttemptGranted:
        mailbox = entry.mailbox
        if (previous := mailbox.worker_id) is not None:
            # It may live on without its broker connection; whatever it still sends is fenced off.
            message = CancelGeneration(query.request_id, entry.deadline, up_to_attempt=mailbox.attempt)
            self._transport.send_control(message, model="", worker_id=previous)
        before = mailbox.attempt
        granted = AttemptGranted(query.request_id, mailbox.begin_attempt(query.worker_id))
        if granted.attempt != before:
            for observer in self._observers:
                observer.attempt_opened(mailbox.model)
        return granted

    def reject_task(self, request_id: str, reason: str) -> None:
        """Fail a request whose task the broker did not take."""
        if (entry := self._entries.get(request_id)) is not None:
            entry.mailbox.fail(ErrorCode.BROKER_UNAVAILABLE, f"{reason}; try again soon")
            self._retire(entry)

    def lose_reply_path(self, reply_address: str) -> None:
        """Fail the requests whose chunks can't arrive any more; their workers learn it from what they send next."""
        lost = [entry for entry in self._entries.values() if entry.mailbox.reply_address == reply_address]
        for entry in lost:
            entry.mailbox.fail(
                ErrorCode.BROKER_UNAVAILABLE, "the connection to the broker was lost; send the request again"
            )
            self._retire(entry)

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
        entry.timer.cancel()
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

    def end_all(self, code: ErrorCode, message: str) -> None:
        """Refuse new requests, and give every stream that still runs its terminal event."""
        self._is_closing = True
        for entry in list(self._entries.values()):
            self._end_early(entry, code, message)

    async def close(self) -> None:
        """Refuse new requests, cancel those still running, and close the transport."""
        self.end_all(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
        await self._transport.close()
