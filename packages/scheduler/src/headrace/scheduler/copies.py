"""Requests that wait for long go up: a copy of their task is published higher.

The broker can't lift a message, so there are two then, and only one may run. Every worker that picks up either from
then on asks first (`is_repeat` of the copy, `ask_after` of the first message), and only the scheduler says who runs it:
see `attempts`. What is left of the others is dropped when it is picked up.
"""

import asyncio
from collections.abc import Callable, Sequence

from msgspec import structs

from headrace.scheduler.ageing import AgeingPolicy
from headrace.scheduler.entries import Entry
from headrace.scheduler.leftovers import Leftovers
from headrace.scheduler.observer import QueueObserver
from headrace.scheduler.waiting import WaitingLines
from headrace.schema.task import GenerationTask
from headrace.transport.base import SchedulerTransport, TransportUnavailableError


class Copies:
    """Publishes them.

    Args:
        transport: how they leave.
        waiting: the lines in which requests go up.
        policy: when they do.
        leftovers: what is to be dropped when it is picked up.
        observers: who gets the facts.
        clock: Unix seconds.
    """

    def __init__(
        self,
        transport: SchedulerTransport,
        *,
        waiting: WaitingLines,
        policy: AgeingPolicy,
        leftovers: Leftovers,
        observers: Sequence[QueueObserver],
        clock: Callable[[], float],
    ) -> None:
        self._transport = transport
        self._waiting = waiting
        self._policy = policy
        self._observers = observers
        self._clock = clock
        self._leftovers = leftovers

    def watch(self, entry: Entry, task: GenerationTask) -> None:
        """Let a request go up when it is time, for as long as it waits."""
        self._plan(entry, task, self._policy.stand(task.lane, task.priority, 0.0).next_seconds)

    def _plan(self, entry: Entry, task: GenerationTask, after_seconds: float | None) -> None:
        entry.age_timer = None
        if after_seconds is not None and task.submitted_at + after_seconds < task.deadline:
            delay = task.submitted_at + after_seconds - self._clock()
            entry.age_timer = asyncio.get_running_loop().call_later(delay, self._raise, entry, task, after_seconds)

    def _raise(self, entry: Entry, task: GenerationTask, waited_seconds: float) -> None:
        if entry.ticket is None:
            return
        standing = self._policy.stand(task.lane, task.priority, waited_seconds)
        copy = structs.replace(task, lane=standing.lane, copy=standing.steps, is_repeat=True)
        before = self._waiting.move(entry.ticket, lane=standing.lane, priority=standing.priority)
        try:
            self._transport.publish_task(copy, level=entry.ticket.line.level_of(entry.ticket))
        except TransportUnavailableError:
            return
        entry.copies = standing.steps
        self._leftovers.add(task.request_id, before, deadline=task.deadline)
        for observer in self._observers:
            observer.task_copied(before.deployment, before.lane)
        self._plan(entry, task, standing.next_seconds)
