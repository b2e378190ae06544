"""How the queues stand at the broker: asked at most once a second for each, and only while somebody wants to know."""

import asyncio

from headrace.scheduler.line import Line
from headrace.transport.base import SchedulerTransport
from headrace.transport.tasks import TaskOwner

FRESH_SECONDS = 1.0
# The broker answers in a millisecond; a request is not held up by one that does not.
PATIENCE_SECONDS = 0.25
_SLACK_SECONDS = 0.05


class QueueDepths:
    """Tells lines how their queues stand.

    Args:
        transport: asks the broker.
    """

    def __init__(self, transport: SchedulerTransport) -> None:
        self._transport = transport
        self._tasks = TaskOwner()
        self._asked_at: dict[Line, float] = {}
        self._asking: dict[Line, asyncio.Task[None]] = {}

    def look(self, line: Line) -> asyncio.Task[None] | None:
        """Ask about a line, unless that was done less than a second ago; return what is still asked."""
        now = asyncio.get_running_loop().time()
        asked_at = self._asked_at.get(line)
        if line not in self._asking and (asked_at is None or now - asked_at >= FRESH_SECONDS - _SLACK_SECONDS):
            self._asked_at[line] = now
            task = self._tasks.start(self._measure(line), name=f"depth of {line.deployment}")
            self._asking[line] = task
            task.add_done_callback(lambda _task: self._asking.pop(line, None))
        return self._asking.get(line)

    async def refresh(self, line: Line) -> None:
        """Return when a line knows how its queue stood a second ago at most, or when that takes too long."""
        if (task := self.look(line)) is not None:
            await asyncio.wait({task}, timeout=PATIENCE_SECONDS)

    async def _measure(self, line: Line) -> None:
        depth = await self._transport.measure_queue(line.deployment, line.lane)
        if depth is not None:
            line.note_depth(depth)

    async def close(self) -> None:
        """Ask no more."""
        await self._tasks.close()
