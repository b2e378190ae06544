"""The requests in flight: every one that was accepted is in this table until its terminal event is in its mailbox."""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from headrace.scheduler.confirmation import Confirmation
from headrace.scheduler.history import AttemptHistory
from headrace.scheduler.leftovers import Leftovers
from headrace.scheduler.line import Ticket
from headrace.scheduler.mailbox import Mailbox
from headrace.scheduler.observer import GenerationEnded, SchedulerObserver
from headrace.scheduler.silence import Silence
from headrace.scheduler.waiting import WaitingLines
from headrace.schema.control import CancelGeneration
from headrace.schema.errors import ErrorCode
from headrace.schema.payload import PayloadRef
from headrace.transport.base import SchedulerTransport


class Entry(Struct):
    """A request in flight.

    Attributes:
        mailbox: where its events arrive.
        deadline: its deadline, Unix seconds.
        submitted_at: when it came, Unix seconds.
        timer: ends it at its deadline.
        ticket: its place in a line, while no worker is known to have it.
        gap_timer: ends it if what is missing does not come.
        age_timer: lets it go up in the queue.
        confirmation: its worker was asked whether it still runs it.
        payload: what it has in the object store.
        copies: how many copies of its task were published.
        running_copy: which of the messages of its task its worker runs it out of; None where only the gateway knew that
            from which it was adopted, or it has gone silent since.
        ask_after: from when on, Unix seconds, workers ask before they run its task; 0 for never.
        silence: how long no worker has said anything of it; of what was adopted only.
    """

    mailbox: Mailbox
    deadline: float
    submitted_at: float
    timer: asyncio.TimerHandle
    ticket: Ticket | None
    gap_timer: asyncio.TimerHandle | None = None
    age_timer: asyncio.TimerHandle | None = None
    confirmation: Confirmation | None = None
    payload: PayloadRef | None = None
    history: AttemptHistory = field(default_factory=AttemptHistory)
    copies: int = 0
    running_copy: int | None = 0
    ask_after: float = 0.0
    silence: Silence | None = None

    def hear(self) -> None:
        """A worker has it in hand."""
        if self.silence is not None:
            self.silence.hear()

    def end_timers(self) -> None:
        """Let nothing more happen to it by itself."""
        self.timer.cancel()
        self.end_ageing()
        if self.gap_timer is not None:
            self.gap_timer.cancel()
        if self.confirmation is not None:
            self.confirmation.cancel()

    def end_ageing(self) -> None:
        """Let it go up no more."""
        if self.age_timer is not None:
            self.age_timer.cancel()


class Entries:
    """The table, and every way out of it. Bounded by what the scheduler accepts.

    Args:
        transport: tells workers what nobody waits for any more.
        waiting: the lines that a request leaves when it ends.
        leftovers: the messages of those who end before a worker has them.
        discard_payload: removes what a request has in the object store.
        observers: who gets the facts.
        clock: Unix seconds.
    """

    def __init__(
        self,
        transport: SchedulerTransport,
        *,
        waiting: WaitingLines,
        leftovers: Leftovers,
        discard_payload: Callable[[PayloadRef | None], None],
        observers: Sequence[SchedulerObserver],
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._waiting = waiting
        self._leftovers = leftovers
        self._discard_payload = discard_payload
        self._observers = observers
        self._clock = clock
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._entries

    def get(self, request_id: str) -> Entry | None:
        """Return a request in flight."""
        return self._entries.get(request_id)

    def all(self) -> Sequence[Entry]:
        """Return all of them as they are now; any may leave meanwhile."""
        return list(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Take a request in."""
        self._entries[entry.mailbox.request_id] = entry
        for observer in self._observers:
            observer.generation_accepted(entry.mailbox.model)

    def end_wait(self, entry: Entry, *, picked_up: bool) -> None:
        """Let a request leave its line, if it still stands there: a worker has it, or it has ended."""
        if entry.ticket is not None:
            self._waiting.leave(entry.ticket, picked_up=picked_up)
            entry.ticket = None
            entry.end_ageing()

    def end_early(self, entry: Entry, code: ErrorCode, message: str) -> None:
        """Fail a request, and abort it wherever it is."""
        entry.mailbox.fail(code, message)
        self.send_cancel(entry)
        self.retire(entry)

    def send_cancel(self, entry: Entry) -> None:
        """Abort a request at the worker that runs it, or at all of its model while none is known."""
        mailbox = entry.mailbox
        message = CancelGeneration(mailbox.request_id, entry.deadline)
        self._transport.send_control(message, model=mailbox.model, worker_id=mailbox.worker_id)

    def retire(self, entry: Entry) -> None:
        """Let a request go whose terminal event is in its mailbox."""
        mailbox = entry.mailbox
        if self._entries.pop(mailbox.request_id, None) is None:
            return
        entry.end_timers()
        was_unsent = self._transport.withdraw_task(mailbox.request_id)
        if entry.ticket is not None and not was_unsent:
            self._leftovers.add(mailbox.request_id, entry.ticket.line, deadline=entry.deadline)
        self._discard_payload(entry.payload)
        self._leave(entry, outcome="finished" if mailbox.failure is None else mailbox.failure.code)

    def forget(self, entry: Entry) -> None:
        """Let a request go that another gateway goes on with; what it has in the object store is still needed."""
        del self._entries[entry.mailbox.request_id]
        entry.end_timers()
        self._leave(entry, outcome="handed_over")

    def _leave(self, entry: Entry, *, outcome: str) -> None:
        mailbox = entry.mailbox
        self.end_wait(entry, picked_up=False)
        fact = GenerationEnded(
            request_id=mailbox.request_id,
            model=mailbox.model,
            outcome=outcome,
            attempts=mailbox.attempt,
            seconds=self._clock() - entry.submitted_at,
            usage=mailbox.usage,
        )
        for observer in self._observers:
            observer.generation_ended(fact)
