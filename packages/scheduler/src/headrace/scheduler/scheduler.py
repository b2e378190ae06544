"""The scheduler of one gateway replica: submits tasks, dispatches chunks, and answers for every request it accepted."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence

from headrace.scheduler.adopting import Announcements, seed_mailbox
from headrace.scheduler.ageing import AgeingPolicy
from headrace.scheduler.attempts import Attempts
from headrace.scheduler.base import OWN_ROUTE, Adoption, Submission
from headrace.scheduler.copies import Copies
from headrace.scheduler.depths import QueueDepths
from headrace.scheduler.door import Door
from headrace.scheduler.entries import Entries, Entry
from headrace.scheduler.gaps import GAP_SECONDS, Gaps
from headrace.scheduler.generation import MailboxGeneration
from headrace.scheduler.large import LargeRequests
from headrace.scheduler.leftovers import Leftovers
from headrace.scheduler.mailbox import Mailbox
from headrace.scheduler.observer import QueueObserver, SchedulerObserver
from headrace.scheduler.publishing import Publisher
from headrace.scheduler.republishing import Republishing
from headrace.scheduler.silence import SILENT_SECONDS
from headrace.scheduler.stored import StoredChunks
from headrace.scheduler.waiting import WaitingLines, no_worker
from headrace.schema.checks import check_request
from headrace.schema.control import CancelGeneration
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    AttemptQuery,
    AttemptRunning,
    GenerationQueued,
    GenerationStarted,
    ReplyItem,
    StoredChunk,
    StreamChunk,
)
from headrace.schema.levels import CLASSIC_LEVELS, Levels
from headrace.schema.settings import SchedulerSettings
from headrace.schema.task import GenerationTask
from headrace.transport.base import SchedulerTransport

TOO_LATE = "the request did not end before its deadline"
# The worker enforces the deadline and knows the usage; the scheduler steps in only where no worker does.
DEADLINE_GRACE_SECONDS = 0.25


class Scheduler:
    """A `GenerationSource` over a transport.

    Args:
        transport: how tasks leave and chunks come back. The scheduler starts and closes it.
        models: the served names, each with the model whose workers answer to it.
        settings: timeouts and limits.
        observers: who gets the facts.
        clock: Unix seconds.
        gap_seconds: how long a worker has to tell again what did not arrive.
        silent_seconds: how long no worker has said anything of an adopted generation when its task is published again.
        large: moves requests that are too large for the broker; None sends all of them through it.
        levels: how the task queues divide their levels.
        queue_observers: who gets the facts about those who wait.
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
        silent_seconds: float = SILENT_SECONDS,
        large: LargeRequests | None = None,
        levels: Levels = CLASSIC_LEVELS,
        queue_observers: Sequence[QueueObserver] = (),
    ) -> None:
        self._transport = transport
        self._models = models
        self._settings = settings
        self._clock = clock
        policy = AgeingPolicy(settings.ageing_seconds, settings.batch_ageing_seconds)
        self._publisher = Publisher(transport, settings, policy=policy, large=large, clock=clock)
        self._depths = QueueDepths(transport)
        self._waiting = WaitingLines(levels, look=self._depths.look, observers=queue_observers)
        self._door = Door(settings, waiting=self._waiting, depths=self._depths, observers=queue_observers)
        leftovers = Leftovers(clock)
        self._copies = Copies(
            transport,
            waiting=self._waiting,
            policy=policy,
            leftovers=leftovers,
            observers=queue_observers,
            clock=clock,
        )
        self._entries = Entries(
            transport,
            waiting=self._waiting,
            leftovers=leftovers,
            discard_payload=self._publisher.discard_payload,
            observers=observers,
            clock=clock,
        )
        self._attempts = Attempts(
            self._entries,
            transport,
            max_attempts=settings.max_attempts,
            leftovers=leftovers,
            clock=clock,
            observers=observers,
        )
        self._gaps = Gaps(self._entries, transport, seconds=gap_seconds)
        self._stored = StoredChunks(large, self._entries, take=self._take)
        self._announcements = Announcements(self._entries, transport)
        self._republishing = Republishing(
            self._entries,
            self._publisher,
            waiting=self._waiting,
            policy=policy,
            leftovers=leftovers,
            observers=observers,
            clock=clock,
            silent_seconds=silent_seconds,
        )
        # Filled only by a process that leaves, and gone with it.
        self._handed_over: set[str] = set()
        self._is_closing = False

    @property
    def in_flight(self) -> int:
        """Generations without a terminal event."""
        return len(self._entries)

    async def start(self) -> None:
        """Begin to connect."""
        await self._transport.start(self)
        self._publisher.start()

    async def serve(self, models: Mapping[str, str]) -> None:
        """Serve these names from now on, each with the model whose workers answer; what runs goes on as it began."""
        await self._transport.add_models(list(dict.fromkeys(models.values())))
        self._models = models

    async def check(self) -> None:
        """Raise `broker_unavailable`, with the reason, unless a request could be accepted now."""
        await self._publisher.check()

    async def submit(self, submission: Submission) -> MailboxGeneration:
        """Accept a request and publish its task; see `GenerationSource`."""
        deployment = self._find_deployment(submission)
        check_request(submission.request)
        self._door.check_room(len(self._entries), deployment=deployment)
        await self._door.check_wait(submission, deployment=deployment)
        task = await self._publisher.make_task(submission, deployment=deployment)
        try:
            return self._open(task)
        except BaseException:
            self._publisher.discard_payload(task.payload)
            raise

    async def adopt(self, adoption: Adoption) -> MailboxGeneration:
        """Go on with a generation that another gateway began; see `GenerationSource`."""
        if adoption.record.route != OWN_ROUTE:
            message = "the gateway that had this answered by a provider was lost; send the request again"
            raise HeadraceError(ErrorCode.PROVIDER_UNAVAILABLE, message)
        mailbox = seed_mailbox(adoption, model=self._find_deployment(adoption.submission))
        seconds = adoption.deadline - self._clock() + DEADLINE_GRACE_SECONDS
        timer = asyncio.get_running_loop().call_later(seconds, self._expire, mailbox.request_id)
        entry = Entry(mailbox, adoption.deadline, adoption.submitted_at, timer, ticket=None, running_copy=None)
        self._handed_over.discard(mailbox.request_id)
        self._entries.add(entry)
        self._announcements.begin(entry)
        # It stands in no line of ours until its task is published again: where that is, the gateway that is gone knew.
        self._republishing.watch(entry, adoption)
        return MailboxGeneration(mailbox, self.cancel, lambda: self._stand(entry))

    def _find_deployment(self, submission: Submission) -> str:
        if self._is_closing:
            raise HeadraceError(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
        if submission.request_id in self._entries:
            raise HeadraceError(ErrorCode.CONFLICT, "a request with this id is running")
        model = submission.request.model
        if (deployment := self._models.get(model)) is None:
            raise HeadraceError(ErrorCode.MODEL_NOT_FOUND, f"the model {model!r} does not exist", param="model")
        return deployment

    def _open(self, task: GenerationTask) -> MailboxGeneration:
        mailbox = Mailbox(
            task.request_id,
            model=task.deployment or task.request.model,
            # With the tokens another gateway can go on; what its readers did not ask for is taken away later.
            shows_token_ids=task.request.output.token_ids or task.retained,
            shows_reasoning=task.request.output.reasoning or task.retained,
        )
        line = self._waiting.find(mailbox.model, task.lane)
        share = line.find_share(task.tenant, task.priority)
        self._publisher.publish(task, level=line.levels.level_of(task.priority, share))
        loop = asyncio.get_running_loop()
        timer = loop.call_later(task.deadline - self._clock() + DEADLINE_GRACE_SECONDS, self._expire, task.request_id)
        # Kept by the transport while the broker is away: it is not waited for without end.
        loop.call_later(self._settings.publish_wait_seconds, self._give_up_unsent, task.request_id)
        ticket = self._waiting.enter(mailbox, task, share=share)
        entry = Entry(mailbox, task.deadline, task.submitted_at, timer, ticket, payload=task.payload)
        entry.ask_after = task.ask_after
        self._entries.add(entry)
        self._copies.watch(entry, task)
        return MailboxGeneration(mailbox, self.cancel, lambda: self._stand(entry))

    def _stand(self, entry: Entry) -> GenerationQueued | None:
        return None if entry.ticket is None else self._waiting.stand(entry.ticket)

    def _give_up_unsent(self, request_id: str) -> None:
        if request_id in self._entries and self._transport.withdraw_task(request_id):
            self.reject_task(request_id, "the broker was away for too long")

    def receive_replies(self, items: Sequence[ReplyItem]) -> None:
        """Put each chunk into its mailbox, and answer workers that ask about a redelivered task."""
        for item in items:
            if item.request_id in self._handed_over:
                # Its worker has not heard yet who waits for it now: an answer of ours would end it, so there is none.
                continue
            if type(item) is StreamChunk:
                if item.request_id in self._stored:
                    self._stored.add(item)
                else:
                    self._take(item)
            elif type(item) is AttemptQuery:
                self._attempts.answer(item)
            elif type(item) is AttemptRunning:
                self._attempts.note_running(item)
            elif type(item) is StoredChunk:
                self._stored.add(item)

    def _take(self, chunk: StreamChunk) -> None:
        entry = self._entries.get(chunk.request_id)
        if entry is None:
            self._disown(chunk)
        elif chunk.attempt < entry.mailbox.attempt:
            self._disown(chunk, up_to_attempt=chunk.attempt)
        else:
            self._accept(chunk, entry)

    def _accept(self, chunk: StreamChunk, entry: Entry) -> None:
        mailbox = entry.mailbox
        entry.hear()
        mailbox.accept(chunk)
        if entry.ticket is not None and mailbox.worker_id is not None:
            entry.history.begin(self._clock())
            self._entries.end_wait(entry, picked_up=True)
        if mailbox.is_missing or entry.gap_timer is not None:
            self._gaps.watch(entry)
        if mailbox.has_ended:
            self._finish(entry)

    def _finish(self, entry: Entry) -> None:
        failure = entry.mailbox.failure
        if failure is not None and failure.code in (ErrorCode.STREAM_BROKEN, ErrorCode.WORKER_LOST):
            # The end came from the mailbox and not from the worker, which would run on for nobody.
            self._entries.send_cancel(entry)
        self._entries.retire(entry)

    def _disown(self, chunk: StreamChunk, *, up_to_attempt: int = 0) -> None:
        """Stop a worker that began something nobody waits for any more."""
        for event in chunk.events:
            if isinstance(event, GenerationStarted):
                message = CancelGeneration(chunk.request_id, self._clock(), up_to_attempt)
                self._transport.send_control(message, model="", worker_id=event.worker_id)

    def lose_worker(self, worker_id: str) -> None:
        """Grant what was run by a worker that is gone to those who asked for it."""
        self._attempts.lose_worker(worker_id)

    def reject_task(self, request_id: str, reason: str) -> None:
        """Fail a request whose task the broker did not take."""
        # One that has copies has a message in a queue, whatever became of the newest.
        entry = self._entries.get(request_id)
        if entry is not None and entry.silence is not None:
            entry.silence.refuse()
        elif entry is not None and not entry.copies:
            entry.mailbox.fail(ErrorCode.BROKER_UNAVAILABLE, f"{reason}; try again soon")
            self._entries.retire(entry)

    def restore_reply_path(self) -> None:
        """Have told again what may have been lost while nobody read our replies."""
        self._attempts.note_outage()
        self._republishing.note_outage()
        self._gaps.ask_all()

    def cancel(self, request_id: str) -> bool:
        """Cancel a generation wherever it is; see `GenerationSource`."""
        if (entry := self._entries.get(request_id)) is None:
            return False
        self._entries.end_early(entry, ErrorCode.CANCELLED, "the request was cancelled")
        return True

    def drop(self, request_id: str, deadline: float) -> None:
        """Have the workers drop what another gateway began and nobody goes on with.

        Args:
            request_id: the generation.
            deadline: its deadline, Unix seconds.
        """
        # Which model it went to may not be known any more: the workers of all are told.
        for model in dict.fromkeys(self._models.values()):
            self._transport.send_control(CancelGeneration(request_id, deadline), model=model, worker_id=None)

    def let_go(self, request_ids: Sequence[str]) -> None:
        """Forget generations that other gateways go on with: they are not cancelled."""
        for request_id in request_ids:
            if (entry := self._entries.get(request_id)) is not None:
                self._handed_over.add(request_id)
                self._announcements.forget(request_id)
                self._entries.forget(entry)

    def _expire(self, request_id: str) -> None:
        if (entry := self._entries.get(request_id)) is not None:
            model = entry.mailbox.model
            is_lonely = entry.ticket is not None and self._waiting.is_deserted(model)
            self._entries.end_early(entry, ErrorCode.DEADLINE_EXCEEDED, no_worker(model) if is_lonely else TOO_LATE)

    def end_all(self, code: ErrorCode, message: str) -> None:
        """Refuse new requests, and give every stream that still runs its terminal event."""
        self._is_closing = True
        for entry in self._entries.all():
            self._entries.end_early(entry, code, message)

    async def close(self) -> None:
        """Refuse new requests, cancel those still running, and close the transport."""
        self.end_all(ErrorCode.SHUTTING_DOWN, "this gateway is shutting down; send the request again")
        await self._depths.close()
        self._announcements.close()
        await self._republishing.close()
        await self._transport.close()
        await self._stored.close()
        await self._publisher.close()
