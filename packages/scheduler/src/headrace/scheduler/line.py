"""Those who wait for one lane of one deployment, in the order in which the broker hands them out.

It holds the requests of this gateway; of the others it knows how many there are, from the depth of the queue at the
broker. Time is passed in: the loop's, in seconds.
"""

from headrace.scheduler.drain import DrainRate
from headrace.scheduler.mailbox import Mailbox
from headrace.scheduler.shares import TenantShares
from headrace.schema.levels import Levels
from headrace.schema.names import Lane
from headrace.transport.base import QueueDepth

WALK_SECONDS = 1.0
_SLACK_SECONDS = 0.05
# How much of what was known of the others is left when their number is measured again.
_KEPT = 0.8


class Ticket:
    """A place in a line.

    Attributes:
        mailbox: of the request that waits.
        tenant: whose it is.
        priority: by which it is ordered now.
        share: its share of that priority.
        asked: whether it is told its position.
        entered_at: when it came.
        position: how many of this gateway were ahead of it when that was last counted.
        line: which line it stands in.
        told: the position that it was told last, and whether it was told a time with it.
        told_at: when that was.
    """

    __slots__ = ("asked", "entered_at", "line", "mailbox", "position", "priority", "share", "tenant", "told", "told_at")

    line: "Line"

    def __init__(self, mailbox: Mailbox, *, tenant: str, priority: int, asked: bool, now: float) -> None:
        self.mailbox = mailbox
        self.tenant = tenant
        self.priority = priority
        self.share = 0
        self.asked = asked
        self.entered_at = now
        self.position = 0
        self.told: tuple[int, bool] | None = None
        self.told_at = 0.0


class Line:
    """One line: a queue for each level.

    Args:
        deployment: whose workers serve it.
        lane: through which of its two queues.
        levels: how that queue divides its levels.

    Attributes:
        drain: how fast it moves.
        asking: how many in it asked for their position.
        has_seen_worker: whether a worker was there for it since this process began; None while nothing is known.
        leftovers: messages of ours in the queue that stand for nobody in the line, because a copy
            came before them or they were cancelled.
    """

    def __init__(self, deployment: str, lane: Lane, levels: Levels) -> None:
        self.deployment = deployment
        self.lane: Lane = lane
        self.levels = levels
        self.drain = DrainRate()
        self.asking = 0
        self.has_seen_worker: bool | None = None
        self.leftovers = 0
        self._shares = TenantShares(levels)
        self._queues: tuple[dict[Ticket, None], ...] = tuple({} for _ in range(levels.highest + 1))
        self._count = 0
        self._walked_at: float | None = None
        self._others = 0
        self._seen_own = self._seen_all = 0.0
        self._pickups: dict[int, tuple[float, float]] = {}

    def __len__(self) -> int:
        return self._count

    @property
    def waiting(self) -> int:
        """How many wait, those of other gateways among them."""
        return self._count + self._others

    def find_share(self, tenant: str, priority: int) -> int:
        """Return the share at which a request of a tenant would enter now."""
        return self._shares.find(tenant, priority)

    def level_of(self, ticket: Ticket) -> int:
        """Return the level at which a request waits."""
        return self.levels.level_of(ticket.priority, ticket.share)

    def add(self, ticket: Ticket, now: float) -> None:
        """Let a request wait, behind the others of its level."""
        if not self._count:
            self.drain.begin_wait(now)
        self._shares.add(ticket.tenant, ticket.priority, ticket.share)
        level = self.level_of(ticket)
        ticket.position = self.count_ahead(level)
        self._queues[level][ticket] = None
        self._count += 1
        self.asking += ticket.asked

    def remove(self, ticket: Ticket, now: float) -> None:
        """Let a request wait no more."""
        self._shares.remove(ticket.tenant, ticket.priority, ticket.share)
        del self._queues[self.level_of(ticket)][ticket]
        self._count -= 1
        self.asking -= ticket.asked
        if not self._count:
            self.drain.end_wait(now)

    def note_pickup(self, ticket: Ticket, now: float) -> None:
        """A worker took a request that waits here; it is still to be removed."""
        self.has_seen_worker = True
        self.drain.note_pickup(now)
        self._pickups[self.level_of(ticket)] = (now - ticket.entered_at, now)

    def note_depth(self, depth: QueueDepth) -> None:
        """Learn how the queue stands at the broker."""
        self.has_seen_worker = self.has_seen_worker or depth.consumers > 0
        if not depth.consumers:
            self.drain.reset()
            self._pickups.clear()
        # What workers have dropped without a word is gone.
        self.leftovers = min(self.leftovers, max(0, depth.waiting - self._count))
        self._others = max(0, depth.waiting - self._count - self.leftovers)
        if self._count:
            self._seen_own = self._seen_own * _KEPT + self._count
            self._seen_all = self._seen_all * _KEPT + self._count + self._others

    def count_ahead(self, level: int) -> int:
        """Return how many of ours are ahead of one that enters a level now."""
        return sum(map(len, self._queues[level:]))

    def walk(self, now: float) -> None:
        """Count everybody's position, unless that was done less than a second ago."""
        if self._walked_at is not None and now - self._walked_at < WALK_SECONDS - _SLACK_SECONDS:
            return
        self._walked_at = now
        position = 0
        for queue in reversed(self._queues):
            for ticket in queue:
                ticket.position = position
                position += 1

    def tickets(self) -> list[Ticket]:
        """Return all that wait."""
        return [ticket for queue in self._queues for ticket in queue]

    def drain_per_second(self, now: float) -> float | None:
        """Return how many workers take in a second for all gateways together; None while nothing is known.

        A queue is served without regard to whose a message is, so of the pickups we see the share that we have of those
        who wait.
        """
        own = self.drain.per_second(now)
        return own if own is None or not self._seen_own else own * self._seen_all / self._seen_own

    def expect_wait(self, ahead: int, level: int, now: float) -> float | None:
        """Return how long one will wait that has so many of ours ahead of it, in seconds; None while nothing is known.

        It is the larger of two estimates: ours ahead at the pace at which ours are taken, and all ahead at the pace at
        which all are. The second guesses which of the others are ahead (as many of them as of ours, all where we have
        none), so it is never more than what those who went no sooner have just waited.
        """
        own_pace, pace = self.drain.per_second(now), self.drain_per_second(now)
        if own_pace is None:
            return None
        if not self.waiting:
            return 0.0
        own = (ahead + 1) / own_pace if self._count else 0.0
        if not self._others or pace is None:
            return own
        others_ahead = self._others * (ahead / self._count if self._count else 1.0)
        return max(own, min((ahead + others_ahead + 1) / pace, self._waited_lately(level, now)))

    def _waited_lately(self, level: int, now: float) -> float:
        newest = max(
            (known for at, known in self._pickups.items() if at <= level), key=lambda one: one[1], default=None
        )
        if newest is None:
            return float("inf")
        waited, picked_up_at = newest
        return waited + now - picked_up_at
