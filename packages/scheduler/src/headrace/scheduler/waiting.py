"""Who waits for a worker, and telling those who asked how many are ahead of them and how long that will take.

To enter and to leave costs the same however many wait. Once a second, and only while somebody waits, the broker is
asked how the queues stand, and the lines in which somebody asked are walked. A position counts the requests of this
gateway only: with several gateways it is a lower bound, and the time is the better word.
"""

import asyncio
import shlex
from collections.abc import Callable, Sequence

from headrace.scheduler.line import Line, Ticket
from headrace.scheduler.mailbox import Mailbox
from headrace.scheduler.observer import QueueObserver
from headrace.schema.events import GenerationQueued
from headrace.schema.levels import CLASSIC_LEVELS, Levels
from headrace.schema.names import Lane
from headrace.schema.task import GenerationTask

TELL_SECONDS = 1.0
# A timer may fire a little early, and who was told a moment ago is not told again before the next round.
_SLACK_SECONDS = 0.05


def no_worker(deployment: str) -> str:
    """Return what who waits in vain is told of a deployment that nobody serves, with what an operator can do."""
    command = f"HEADRACE_WORKER_MODEL={shlex.quote(deployment)} headrace-worker"
    return f"no worker has taken work for '{deployment}' since this gateway began; start one with: {command}"


class WaitingLines:
    """The lines of all deployments.

    Args:
        levels: how queues divide their levels.
        look: called once a second with each line in which somebody waits, to learn how its queue stands.
        observers: who gets the facts.
    """

    def __init__(
        self,
        levels: Levels = CLASSIC_LEVELS,
        *,
        look: Callable[[Line], object] = lambda _line: None,
        observers: Sequence[QueueObserver] = (),
    ) -> None:
        self._levels = levels
        self._look = look
        self._observers = observers
        self._lines: dict[tuple[str, Lane], Line] = {}
        self._timer: asyncio.TimerHandle | None = None

    def find(self, deployment: str, lane: Lane) -> Line:
        """Return a line; it is kept for ever, since what is known of it is."""
        key = (deployment, lane)
        if key not in self._lines:
            self._lines[key] = Line(deployment, lane, self._levels)
        return self._lines[key]

    def lines_of(self, deployment: str) -> Sequence[Line]:
        """Return the lines of a deployment that there are."""
        return [line for line in self._lines.values() if line.deployment == deployment]

    def is_deserted(self, deployment: str) -> bool:
        """Tell whether, as far as this process knows, no worker was ever there for a deployment."""
        seen = [line.has_seen_worker for line in self.lines_of(deployment)]
        return False in seen and True not in seen

    def all(self) -> Sequence[Line]:
        """Return all lines that there are."""
        return list(self._lines.values())

    def enter(self, mailbox: Mailbox, task: GenerationTask, *, share: int) -> Ticket:
        """Let a request wait, and tell it its position at once if it asked."""
        now = asyncio.get_running_loop().time()
        line = self.find(mailbox.model, task.lane)
        asked = task.request.output.queue_position
        ticket = Ticket(mailbox, tenant=task.tenant, priority=task.priority, asked=asked, now=now)
        ticket.share = share
        self._add(ticket, line, now)
        if asked:
            self._tell(ticket, line, now)
        return ticket

    def _add(self, ticket: Ticket, line: Line, now: float) -> None:
        line.add(ticket, now)
        ticket.line = line
        for observer in self._observers:
            observer.wait_began(line.deployment, line.lane)
        self._plan_round()

    def move(self, ticket: Ticket, *, lane: Lane, priority: int) -> Line:
        """Let a request go up: to a priority, and perhaps to the other lane; return the line that it was in."""
        before, now = ticket.line, asyncio.get_running_loop().time()
        self._remove(ticket, now)
        ticket.priority = priority
        self._add(ticket, self.find(before.deployment, lane), now)
        return before

    def leave(self, ticket: Ticket, *, picked_up: bool) -> None:
        """End the wait of a request: a worker has it, or it has ended."""
        now = asyncio.get_running_loop().time()
        if picked_up:
            ticket.line.note_pickup(ticket, now)
        self._remove(ticket, now)
        if self._timer is not None and not any(map(len, self._lines.values())):
            self._timer.cancel()
            self._timer = None

    def _remove(self, ticket: Ticket, now: float) -> None:
        line = ticket.line
        line.remove(ticket, now)
        for observer in self._observers:
            observer.wait_ended(line.deployment, line.lane)
            if not len(line):
                observer.wait_estimated(line.deployment, line.lane, 0.0)

    def stand(self, ticket: Ticket) -> GenerationQueued:
        """Return where a request stands, counted within the last second, and how long it will wait from now on."""
        now = asyncio.get_running_loop().time()
        ticket.line.walk(now)
        return self._queued(ticket, now)

    @staticmethod
    def _queued(ticket: Ticket, now: float) -> GenerationQueued:
        line = ticket.line
        wait = line.expect_wait(ticket.position, line.level_of(ticket), now)
        return GenerationQueued(ticket.position, None if wait is None else round(wait, 1))

    def tell(self, now: float) -> None:
        """Tell all who asked and who stand elsewhere than before; `now` is the loop's time."""
        for line in self._lines.values():
            if line.asking:
                line.walk(now)
                for ticket in line.tickets():
                    if ticket.asked and now - ticket.told_at >= TELL_SECONDS - _SLACK_SECONDS:
                        self._tell(ticket, line, now)

    def _tell(self, ticket: Ticket, line: Line, now: float) -> None:
        knows = line.drain.per_second(now) is not None
        if ticket.told != (ticket.position, knows):
            ticket.told, ticket.told_at = (ticket.position, knows), now
            ticket.mailbox.tell_queued(self._queued(ticket, now))

    def _plan_round(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._begin_round)

    def _begin_round(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        for line in self._lines.values():
            if len(line):
                self._look(line)
                self._estimate(line, now)
        self.tell(now)
        self._plan_round()

    def _estimate(self, line: Line, now: float) -> None:
        wait = line.expect_wait(len(line), 0, now)
        if wait is not None:
            for observer in self._observers:
                observer.wait_estimated(line.deployment, line.lane, wait)
