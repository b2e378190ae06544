"""Holes in a stream: a part of an attempt did not arrive, so it is told again from its start, or the stream ends."""

import asyncio

from headrace.scheduler.entries import Entries, Entry
from headrace.schema.control import ResendReplies
from headrace.schema.errors import ErrorCode
from headrace.transport.base import SchedulerTransport

# A worker is asked to tell an attempt again; where that does not come, the stream is broken.
GAP_SECONDS = 5.0


class Gaps:
    """Has told again what is missing.

    Args:
        entries: what is in flight.
        transport: the way to the workers.
        seconds: how long a worker has to tell again what did not arrive.
    """

    def __init__(self, entries: Entries, transport: SchedulerTransport, *, seconds: float) -> None:
        self._entries = entries
        self._transport = transport
        self._seconds = seconds

    def watch(self, entry: Entry) -> None:
        """Ask for what is missing since the last chunk, and stop waiting for what came."""
        if entry.mailbox.is_missing and entry.gap_timer is None:
            entry.gap_timer = asyncio.get_running_loop().call_later(self._seconds, self._give_up, entry)
            self._ask(entry)
        elif not entry.mailbox.is_missing and entry.gap_timer is not None:
            entry.gap_timer.cancel()
            entry.gap_timer = None

    def ask_all(self) -> None:
        """Have everything in flight told again, because nobody read our replies for a while."""
        for entry in self._entries.all():
            self._ask(entry)

    def _ask(self, entry: Entry) -> None:
        mailbox = entry.mailbox
        message = ResendReplies(mailbox.request_id, mailbox.attempt)
        self._transport.send_control(message, model=mailbox.model, worker_id=mailbox.worker_id)

    def _give_up(self, entry: Entry) -> None:
        message = "a part of the answer was lost on its way; send the request again"
        self._entries.end_early(entry, ErrorCode.STREAM_BROKEN, message)
