"""The door: judges what comes by what waits already."""

import asyncio
from collections.abc import Sequence

from headrace.scheduler.admission import Limits, Outlook, Refusal, judge, retry_when_fewer
from headrace.scheduler.base import Submission
from headrace.scheduler.depths import QueueDepths
from headrace.scheduler.observer import QueueObserver
from headrace.scheduler.waiting import WaitingLines
from headrace.schema.settings import SchedulerSettings


class Door:
    """Lets requests in, or says when to come again.

    Args:
        settings: the limits.
        waiting: who waits already.
        depths: learns how the queues stand.
        observers: who gets the facts.
    """

    def __init__(
        self,
        settings: SchedulerSettings,
        *,
        waiting: WaitingLines,
        depths: QueueDepths,
        observers: Sequence[QueueObserver],
    ) -> None:
        self._settings = settings
        self._waiting = waiting
        self._depths = depths
        self._observers = observers

    def check_room(self, in_flight: int, *, deployment: str) -> None:
        """Refuse what this gateway has no room for.

        Raises:
            HeadraceError: `overloaded`.
        """
        limit = self._settings.max_in_flight
        if in_flight < limit:
            return
        now = asyncio.get_running_loop().time()
        paces = [pace for line in self._waiting.all() if (pace := line.drain.per_second(now)) is not None]
        # As many leave the gateway in a second as are taken by workers.
        outlook = Outlook(waiting=in_flight, wait_seconds=None, drain_per_second=sum(paces) or None)
        message = "this gateway holds as many requests as it may; try again later"
        self._refuse(Refusal("max_in_flight", message, retry_when_fewer(outlook, limit)), deployment)

    async def check_wait(self, submission: Submission, *, deployment: str) -> None:
        """Refuse what would wait for too long, or behind too many.

        Raises:
            HeadraceError: `overloaded`.
        """
        line = self._waiting.find(deployment, submission.lane)
        settings = self._settings
        if settings.max_waiting or settings.max_wait_seconds:
            for one in {line, *self._waiting.lines_of(deployment)}:
                await self._depths.refresh(one)
        else:
            self._depths.look(line)
        now = asyncio.get_running_loop().time()
        priority = settings.default_priority if submission.priority is None else submission.priority
        level = line.levels.level_of(priority, line.find_share(submission.caller.tenant_id, priority))
        outlook = Outlook(
            waiting=sum(one.waiting for one in self._waiting.lines_of(deployment)),
            wait_seconds=line.expect_wait(line.count_ahead(level), level, now),
            drain_per_second=line.drain_per_second(now),
        )
        limits = Limits(
            waiting=settings.max_waiting,
            # The batch lane takes what is left over: it waits for as long as it has to.
            wait_seconds=settings.max_wait_seconds if submission.lane == "online" else 0.0,
            timeout_seconds=submission.timeout_seconds or settings.request_timeout_seconds,
        )
        if (refusal := judge(outlook, limits)) is not None:
            self._refuse(refusal, deployment)

    def _refuse(self, refusal: Refusal, deployment: str) -> None:
        for observer in self._observers:
            observer.request_refused(deployment, refusal.reason)
        raise refusal.to_error()
