"""Who may run a task that was handed to another worker: a worker asks, and the one that ran it is asked first.

A broker that lost a connection hands out again what was running on it, also where the worker lives on and streams by
another way. So the worker that ran the task is asked whether it still does. While it does, the new one waits and asks
again; once it is known to be gone, or does not answer, the new one is granted the next attempt.

Copies of a task that waited for long are other messages, and there is nothing to ask: whoever is known to run the task
holds a message of his own, which comes again if he is lost. So every other message of the task is dropped at once.
"""

import asyncio
import math
from collections.abc import Callable, Sequence

from headrace.scheduler.confirmation import Confirmation
from headrace.scheduler.entries import Entries, Entry
from headrace.scheduler.history import HANDED_AGAIN, RETURNED, GivenUp
from headrace.scheduler.leftovers import Leftovers
from headrace.scheduler.observer import SchedulerObserver
from headrace.schema.control import (
    AttemptGranted,
    AttemptRefused,
    CancelGeneration,
    ConfirmAttempt,
    ControlMessage,
)
from headrace.schema.errors import ErrorCode
from headrace.schema.events import AttemptQuery, AttemptRunning
from headrace.transport.base import SchedulerTransport

# An answer takes milliseconds; a worker whose loop is blocked for longer is overtaken, and fenced off.
CONFIRM_SECONDS = 0.5
# After the broker was away, its other clients may need a moment to connect again as well.
CONFIRM_AFTER_OUTAGE_SECONDS = 5.0
OUTAGE_REMEMBERED_SECONDS = 10.0


class Attempts:
    """Answers workers that ask, and grants further attempts.

    Args:
        entries: what is in flight.
        transport: the way to the workers.
        max_attempts: workers that may be lost under one request.
        leftovers: the messages that are dropped here.
        clock: Unix seconds.
        observers: who gets the facts.
    """

    def __init__(
        self,
        entries: Entries,
        transport: SchedulerTransport,
        *,
        max_attempts: int,
        leftovers: Leftovers,
        clock: Callable[[], float],
        observers: Sequence[SchedulerObserver],
    ) -> None:
        self._entries = entries
        self._transport = transport
        self._max_attempts = max_attempts
        self._leftovers = leftovers
        self._clock = clock
        self._observers = observers
        self._restored_at = -math.inf
        self._given_up = GivenUp()

    def note_outage(self) -> None:
        """The broker was away: give workers more time to answer for a while."""
        self._restored_at = asyncio.get_running_loop().time()

    def answer(self, query: AttemptQuery) -> None:
        """Grant, refuse, or ask first the one that runs it."""
        entry = self._entries.get(query.request_id)
        if entry is None:
            self._leftovers.take(query.request_id)
            self._send(query.worker_id, self._given_up.refusal_of(query))
            return
        entry.hear()
        mailbox = entry.mailbox
        runner = mailbox.worker_id or mailbox.granted_to
        if runner is not None and entry.running_copy not in (None, query.copy):
            self._drop(query)
        elif runner is None or runner == query.worker_id:
            self._grant(query.worker_id, entry, HANDED_AGAIN, copy=query.copy)
        elif entry.confirmation is None:
            entry.confirmation = Confirmation(
                runner,
                query.worker_id,
                seconds=self._confirm_seconds(),
                ask=lambda: self._send(runner, ConfirmAttempt(mailbox.request_id, mailbox.attempt)),
                grant=lambda asker_id, how: self._grant(asker_id, entry, how, copy=query.copy),
            )
            entry.confirmation.ask()

    def _drop(self, query: AttemptQuery) -> None:
        self._leftovers.take(query.request_id)
        self._send(query.worker_id, AttemptRefused(query.request_id))

    def _confirm_seconds(self) -> float:
        since_outage = asyncio.get_running_loop().time() - self._restored_at
        return CONFIRM_AFTER_OUTAGE_SECONDS if since_outage < OUTAGE_REMEMBERED_SECONDS else CONFIRM_SECONDS

    def note_running(self, item: AttemptRunning) -> None:
        """A worker has picked a task up, or was asked and runs it: then the one that asked for it has to wait."""
        if item.is_returned:
            self._note_returned(item)
            return
        entry = self._entries.get(item.request_id)
        if entry is None:
            self._send(item.worker_id, CancelGeneration(item.request_id, self._clock()))
            return
        mailbox, confirmation = entry.mailbox, entry.confirmation
        if entry.silence is not None and item.attempt >= mailbox.attempt:
            self._note_heard(entry, item)
        if mailbox.note_attempt(item.attempt, item.worker_id):
            entry.history.begin(self._clock())
            if confirmation is not None:
                # Somebody else was asked, or did ask, who asks again.
                confirmation.cancel()
                entry.confirmation = confirmation = None
        elif item.attempt < mailbox.attempt:
            self._send(item.worker_id, CancelGeneration(item.request_id, entry.deadline, up_to_attempt=item.attempt))
        elif mailbox.worker_id is None and mailbox.granted_to is None:
            mailbox.granted_to = item.worker_id
            entry.history.begin(self._clock())
            self._entries.end_wait(entry, picked_up=True)
        if confirmation is not None and confirmation.worker_id == item.worker_id:
            confirmation.cancel()
            entry.confirmation = None

    def _note_heard(self, entry: Entry, item: AttemptRunning) -> None:
        """Somebody has in hand what was adopted, and it waits no more."""
        entry.hear()
        if entry.running_copy is None and item.attempt == 1:
            # Only the first message of a task runs without a question, and only its run is the first attempt.
            entry.running_copy = 0
        self._entries.end_wait(entry, picked_up=True)

    def _note_returned(self, item: AttemptRunning) -> None:
        """A worker has given a task back to its queue: nobody was lost, unless it had begun."""
        entry = self._entries.get(item.request_id)
        if entry is None:
            return
        entry.hear()
        mailbox, confirmation = entry.mailbox, entry.confirmation
        if mailbox.granted_to == item.worker_id and mailbox.worker_id is None:
            mailbox.granted_to = None
        if confirmation is not None and confirmation.worker_id == item.worker_id:
            confirmation.lose_worker(RETURNED)

    def lose_worker(self, worker_id: str) -> None:
        """Grant what was run by a worker that is gone to those who asked for it."""
        for entry in self._entries.all():
            if entry.confirmation is not None and entry.confirmation.worker_id == worker_id:
                entry.confirmation.lose_worker()

    def _send(self, worker_id: str, message: ControlMessage) -> None:
        self._transport.send_control(message, model="", worker_id=worker_id)

    def _why_not_again(self, entry: Entry) -> str | None:
        mailbox = entry.mailbox
        lost = len(entry.history.lost)
        if lost >= self._max_attempts:
            return f"{lost} workers were lost while they ran this request; it is not tried again"
        if not mailbox.can_continue:
            # A second sample can't be spliced onto the first: the client must send the request again.
            return "the worker that ran this request was lost; send the request again"
        return None

    def _give_up(self, worker_id: str, entry: Entry, reason: str) -> None:
        """End a request that is not tried again, and have the worker that asks keep it as a dead letter."""
        # Whoever tries the dead letter again needs what it refers to: that is left to the sweep.
        entry.payload = None
        refusal = AttemptRefused(entry.mailbox.request_id, reason, entry.history.lost)
        self._given_up.add(refusal, copy=entry.running_copy or 0)
        self._entries.end_early(entry, ErrorCode.WORKER_LOST, reason)
        self._send(worker_id, refusal)

    def _grant(self, worker_id: str, entry: Entry, how: str, *, copy: int) -> None:
        """Let a worker run the next attempt after the last was lost, or end the request where there is to be none."""
        mailbox = entry.mailbox
        entry.confirmation = None
        entry.running_copy = copy
        previous, before = mailbox.worker_id or mailbox.granted_to, mailbox.attempt
        # A task that was handed out and never begun was given back, or went to somebody who may have begun unheard:
        # no worker was lost under it. The next number fences such a one off.
        is_lost = previous is not None and (previous != worker_id or mailbox.worker_id is not None)
        if is_lost:
            entry.history.lose(before, previous, how)
            if reason := self._why_not_again(entry):
                self._give_up(worker_id, entry, reason)
                return
        if previous is not None and previous != worker_id:
            # It may live on without its broker connection; whatever it still sends is fenced off.
            self._send(previous, CancelGeneration(mailbox.request_id, entry.deadline, up_to_attempt=before))
        attempt = mailbox.begin_attempt(worker_id)
        entry.history.begin(self._clock())
        self._send(worker_id, AttemptGranted(mailbox.request_id, attempt, mailbox.told()))
        self._entries.end_wait(entry, picked_up=True)
        has_waited = entry.copies > 0 or 0 < entry.ask_after <= self._clock()
        if attempt != before and not (previous is None and has_waited):
            for observer in self._observers:
                observer.attempt_opened(mailbox.model)
