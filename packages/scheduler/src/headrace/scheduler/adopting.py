"""Generations that another gateway began: their workers are told who waits for them now.

A worker may be handed the task at any later time, with the address of the gateway that is gone: so all workers of the
model are told again and again until the generation has ended. Then they are told to drop the task, because a copy of it
that is still in the queue would run for nobody.
"""

import asyncio

from headrace.scheduler.base import Adoption
from headrace.scheduler.entries import Entries, Entry
from headrace.scheduler.mailbox import Mailbox
from headrace.schema.control import AdoptGeneration, CancelGeneration
from headrace.transport.base import SchedulerTransport

ANNOUNCE_SECONDS = 1.0


class Announcements:
    """Tells workers what this gateway has adopted.

    Args:
        entries: what is in flight.
        transport: the way to the workers.
    """

    def __init__(self, entries: Entries, transport: SchedulerTransport) -> None:
        self._entries = entries
        self._transport = transport
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def begin(self, entry: Entry) -> None:
        """Tell the workers of an adopted generation about it, from now to its end."""
        mailbox = entry.mailbox
        if self._entries.get(mailbox.request_id) is not entry:
            del self._timers[mailbox.request_id]
            message = CancelGeneration(mailbox.request_id, entry.deadline)
            self._transport.send_control(message, model=mailbox.model, worker_id=None)
            return
        adoption = AdoptGeneration(mailbox.request_id, self._transport.reply_address, entry.deadline)
        self._transport.send_control(adoption, model=mailbox.model, worker_id=None)
        self._timers[mailbox.request_id] = asyncio.get_running_loop().call_later(ANNOUNCE_SECONDS, self.begin, entry)

    def forget(self, request_id: str) -> None:
        """Tell nobody any more about a generation that yet another gateway goes on with; it is not to be dropped."""
        if (timer := self._timers.pop(request_id, None)) is not None:
            timer.cancel()

    def close(self) -> None:
        """Tell nobody anything any more."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


def seed_mailbox(adoption: Adoption, *, model: str) -> Mailbox:
    """Return a mailbox that knows what the readers of an adopted generation have been told."""
    mailbox = Mailbox(adoption.submission.request_id, model=model, shows_token_ids=True)
    mailbox.take_up(adoption.events, attempt=max(1, adoption.record.attempts))
    return mailbox
