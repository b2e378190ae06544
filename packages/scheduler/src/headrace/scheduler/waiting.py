"""Who waits for a worker, in which order, and telling those who asked how many are ahead of them.

It knows the requests of this gateway only: with several gateways a position is a lower bound. To enter and to leave
costs the same however many wait; the lines are walked once a second, and only while somebody in them asked.
"""

import asyncio

from headrace.scheduler.mailbox import Mailbox
from headrace.schema.task import MAX_PRIORITY

TELL_SECONDS = 1.0
# A timer may fire a little early, and who was told a moment ago is not told again before the next round.
_SLACK_SECONDS = 0.05


class Ticket:
    """A place in a line.

    Attributes:
        mailbox: of the request that waits.
        priority: of the request.
        asked: whether it is told its position.
        position: what it was told last.
        told_at: when that was, in the loop's time.
    """

    __slots__ = ("asked", "mailbox", "position", "priority", "told_at")

    def __init__(self, mailbox: Mailbox, *, priority: int, asked: bool) -> None:
        self.mailbox = mailbox
        self.priority = priority
        self.asked = asked
        self.position = -1
        self.told_at = 0.0

    def tell(self, position: int, now: float) -> None:
        """Put the position into the mailbox, if it is another one than before."""
        if position != self.position:
            self.position, self.told_at = position, now
            self.mailbox.tell_position(position)


class _Line:
    """Those who wait for one deployment: a queue for each priority."""

    def __init__(self) -> None:
        self.queues: tuple[dict[Ticket, None], ...] = tuple({} for _ in range(MAX_PRIORITY + 1))
        self.asking = 0

    def __len__(self) -> int:
        return sum(map(len, self.queues))

    def ahead_of(self, priority: int) -> int:
        """Return how many are ahead of one that enters now."""
        return sum(map(len, self.queues[priority:]))

    def tell(self, now: float) -> None:
        """Tell those who asked, unless they were told less than a second ago."""
        position = 0
        for queue in reversed(self.queues):
            for ticket in queue:
                if ticket.asked and now - ticket.told_at >= TELL_SECONDS - _SLACK_SECONDS:
                    ticket.tell(position, now)
                position += 1


class WaitingLines:
    """The lines of all deployments."""

    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._timer: asyncio.TimerHandle | None = None

    def enter(self, mailbox: Mailbox, *, priority: int, asked: bool) -> Ticket:
        """Let a request wait, and tell it its position at once if it asked."""
        line = self._lines.setdefault(mailbox.model, _Line())
        ticket = Ticket(mailbox, priority=priority, asked=asked)
        if asked:
            line.asking += 1
            ticket.tell(line.ahead_of(priority), asyncio.get_running_loop().time())
            self._plan_round()
        line.queues[priority][ticket] = None
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """End the wait of a request: a worker has it, or it has ended."""
        line = self._lines[ticket.mailbox.model]
        del line.queues[ticket.priority][ticket]
        line.asking -= ticket.asked
        if not len(line):
            del self._lines[ticket.mailbox.model]
        if self._timer is not None and ticket.asked and not any(line.asking for line in self._lines.values()):
            self._timer.cancel()
            self._timer = None

    def tell(self, now: float) -> None:
        """Tell all who asked and whose position has changed; `now` is the loop's time."""
        for line in self._lines.values():
            if line.asking:
                line.tell(now)

    def _plan_round(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._begin_round)

    def _begin_round(self) -> None:
        self._timer = None
        self.tell(asyncio.get_running_loop().time())
        self._plan_round()
