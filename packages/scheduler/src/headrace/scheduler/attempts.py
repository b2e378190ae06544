"""Who may run a task that was handed to another worker: a worker asks, and the one that ran it is asked first.

A broker that lost a connection hands out again what was running on it, also where the worker lives on and streams by
another way. So the worker that ran the task is asked whether it still does. While it does, the new one waits and asks
again; once it is known to be gone, or does not answer, the new one is granted the next attempt.
"""

import asyncio
import math
from collections.abc import Sequence

from headrace.scheduler.confirmation import Confirmation
from headrace.scheduler.entries import Entries, Entry
from headrace.scheduler.mailbox import Mailbox
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
        observers: who gets the facts.
    """

    def __init__(
        self,
        entries: Entries,
        transport: SchedulerTransport,
        *,
        max_attempts: int,
        observers: Sequence[SchedulerObserver],
    ) -> None:
        self._entries = entries
        self._transport = transport
        self._max_attempts = max_attempts
        self._observers = observers
        self._restored_at = -math.inf

    def note_outage(self) -> None:
        """The broker was away: give workers more time to answer for a while."""
        self._restored_at = asyncio.get_running_loop().time()

    def answer(self, query: AttemptQuery) -> None:
        """Grant, refuse, or ask first the one that runs it."""
        entry = self._entries.get(query.request_id)
        if entry is None:
            self._send(query.worker_id, AttemptRefused(query.request_id))
            return
        mailbox = entry.mailbox
        runner = mailbox.worker_id or mailbox.granted_to
        if runner is None or runner == query.worker_id:
            self._grant(query.worker_id, entry)
        elif entry.confirmation is None:
            entry.confirmation = Confirmation(
                runner,
                query.worker_id,
                seconds=self._confirm_seconds(),
                ask=lambda: self._send(runner, ConfirmAttempt(mailbox.request_id, mailbox.attempt)),
                grant=lambda asker_id: self._grant(asker_id, entry),
            )
            entry.confirmation.ask()

    def _confirm_seconds(self) -> float:
        since_outage = asyncio.get_running_loop().time() - self._restored_at
        return CONFIRM_AFTER_OUTAGE_SECONDS if since_outage < OUTAGE_REMEMBERED_SECONDS else CONFIRM_SECONDS

    def note_running(self, item: AttemptRunning) -> None:
        """A worker that was asked runs it: the one that asked has to wait."""
        entry = self._entries.get(item.request_id)
        if entry is not None and entry.confirmation is not None and entry.confirmation.worker_id == item.worker_id:
            entry.confirmation.cancel()
            entry.confirmation = None

    def lose_worker(self, worker_id: str) -> None:
        """Grant what was run by a worker that is gone to those who asked for it."""
        for entry in self._entries.all():
            if entry.confirmation is not None and entry.confirmation.worker_id == worker_id:
                entry.confirmation.lose_worker()

    def _send(self, worker_id: str, message: ControlMessage) -> None:
        self._transport.send_control(message, model="", worker_id=worker_id)

    def _why_not_again(self, mailbox: Mailbox) -> str | None:
        if mailbox.attempt >= self._max_attempts:
            return f"{mailbox.attempt} workers were lost while they ran this request; it is not tried again"
        if not mailbox.can_continue:
            # A second sample can't be spliced onto the first: the client must send the request again.
            return "the worker that ran this request was lost; send the request again"
        return None

    def _grant(self, worker_id: str, entry: Entry) -> None:
        """Let a worker run the next attempt, or end the request where there is to be none."""
        mailbox = entry.mailbox
        entry.confirmation = None
        previous, before = mailbox.worker_id or mailbox.granted_to, mailbox.attempt
        is_known = mailbox.granted_to == worker_id and mailbox.worker_id is None
        if not is_known and (reason := self._why_not_again(mailbox)):
            self._entries.end_early(entry, ErrorCode.WORKER_LOST, reason)
            self._send(worker_id, AttemptRefused(mailbox.request_id, reason))
            return
        if previous is not None and previous != worker_id:
            # It may live on without its broker connection; whatever it still sends is fenced off.
            self._send(previous, CancelGeneration(mailbox.request_id, entry.deadline, up_to_attempt=before))
        attempt = mailbox.begin_attempt(worker_id)
        self._send(worker_id, AttemptGranted(mailbox.request_id, attempt, mailbox.told()))
        if attempt != before:
            for observer in self._observers:
                observer.attempt_opened(mailbox.model)
