"""Adopted generations of which no worker says anything: their tasks are published again.

A worker that has finished a task and acknowledged it may die before the gateway that read it had written the end down,
and a gateway may die before the broker had its task. Then no message is left that anybody could be handed. What an
adopter sees of it is silence: workers that hold a task say so whenever they are told who waits for it, and workers that
want to run one ask. So after a silence a copy of the task is published, which has to ask before it runs. Beside a
message that still waits, or a worker that was only slow, it is refused or overtakes, and nothing runs twice.

Only time in which the broker could be reached counts. A copy that waits in its queue is silent too, so there is one for
each silence, and a further one where the request has meanwhile waited long enough to go up.
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from msgspec import Struct, structs

from headrace.scheduler.ageing import AgeingPolicy
from headrace.scheduler.base import Adoption
from headrace.scheduler.entries import Entries, Entry
from headrace.scheduler.leftovers import Leftovers
from headrace.scheduler.observer import SchedulerObserver
from headrace.scheduler.publishing import Publisher
from headrace.scheduler.silence import SILENT_LOOKS, YOUNGEST_SILENCES, Silence
from headrace.scheduler.waiting import WaitingLines
from headrace.schema.errors import HeadraceError
from headrace.transport.tasks import TaskOwner

# Copies of what waited for long are counted from 1. No two gateways that adopt one after the other use the same number:
# a worker remembers which messages it has ended, by their numbers.
FIRST_COPY = 1_000
MOST_FAILURES = 3

_log = structlog.get_logger("headrace.scheduler")


class Watched(Struct, frozen=True):
    """A generation that is listened for.

    Attributes:
        entry: what is known of it now.
        adoption: what was known when it was adopted.
    """

    entry: Entry
    adoption: Adoption


class Republishing:
    """Listens for them, and publishes their tasks.

    Args:
        entries: what is in flight.
        publisher: makes tasks, and says whether one can be published now.
        waiting: the lines in which they wait again.
        policy: how far up those go that have waited for long.
        leftovers: what is to be dropped when it is picked up.
        observers: who gets the facts.
        clock: Unix seconds.
        silent_seconds: how long nobody has said anything when a task is published again.
    """

    def __init__(
        self,
        entries: Entries,
        publisher: Publisher,
        *,
        waiting: WaitingLines,
        policy: AgeingPolicy,
        leftovers: Leftovers,
        observers: Sequence[SchedulerObserver],
        clock: Callable[[], float],
        silent_seconds: float,
    ) -> None:
        self._entries = entries
        self._publisher = publisher
        self._waiting = waiting
        self._policy = policy
        self._leftovers = leftovers
        self._observers = observers
        self._clock = clock
        self._look_seconds = silent_seconds / SILENT_LOOKS
        self._youngest_seconds = silent_seconds * YOUNGEST_SILENCES
        self._watched: dict[str, Watched] = {}
        self._tasks = TaskOwner()
        self._looking: asyncio.Task[None] | None = None

    def watch(self, entry: Entry, adoption: Adoption) -> None:
        """Listen for a generation from now to its end."""
        entry.silence = Silence()
        self._watched[entry.mailbox.request_id] = Watched(entry, adoption)
        if self._looking is None or self._looking.done():
            self._looking = self._tasks.start(self._run(), name="listen for adopted generations")

    def note_outage(self) -> None:
        """The broker was away: workers get all of the time once more."""
        for watched in self._watched.values():
            if watched.entry.silence is not None:
                watched.entry.silence.begin_again()

    async def close(self) -> None:
        """Listen no more."""
        await self._tasks.close()

    async def _run(self) -> None:
        while self._watched:
            await asyncio.sleep(self._look_seconds)
            self._watched = {name: one for name, one in self._watched.items() if self._entries.get(name) is one.entry}
            if await self._can_publish():
                for watched in list(self._watched.values()):
                    await self._look_safely(watched)

    async def _look_safely(self, watched: Watched) -> None:
        try:
            await self._look(watched)
        except Exception:  # noqa: BLE001 - an edge: one that nobody planned for leaves the others
            _log.exception("adopted task not published again", request_id=watched.entry.mailbox.request_id)
            if watched.entry.silence is not None:
                watched.entry.silence.refuse()

    async def _can_publish(self) -> bool:
        try:
            await self._publisher.check()
        except HeadraceError:
            return False
        return True

    async def _look(self, watched: Watched) -> None:
        entry, adoption = watched.entry, watched.adoption
        silence, now = entry.silence, self._clock()
        if silence is None or not silence.look():
            return
        if not entry.submitted_at + self._youngest_seconds <= now < entry.deadline:
            return
        submission = adoption.submission
        priority = self._publisher.priority_of(submission)
        standing = self._policy.stand(submission.lane, priority, now - entry.submitted_at)
        if not silence.wants(standing.steps):
            return
        number = silence.number(FIRST_COPY + max(0, int((now - entry.submitted_at) * 1000)))
        try:
            task = await self._publisher.make_copy(
                adoption, deployment=entry.mailbox.model, lane=standing.lane, copy=number
            )
            if self._entries.get(task.request_id) is not entry:
                # What it has in the object store is left to the sweep: whoever goes on with it may need it.
                return
            entry.payload = task.payload
            if not silence.is_lasting:
                # Somebody spoke while it was moved.
                return
            line = self._waiting.find(entry.mailbox.model, standing.lane)
            share = line.find_share(task.tenant, standing.priority)
            self._publisher.publish(task, level=line.levels.level_of(standing.priority, share))
        except HeadraceError as error:
            self._note_failure(entry, error)
            return
        silence.note_published(standing.steps)
        entry.copies += 1
        # The worker that was known to run it is asked whether it does, whichever message comes next.
        entry.running_copy = None
        if entry.ticket is not None:
            self._leftovers.add(task.request_id, entry.ticket.line, deadline=entry.deadline)
            self._entries.end_wait(entry, picked_up=False)
        entry.ticket = self._waiting.enter(
            entry.mailbox, structs.replace(task, priority=standing.priority), share=share
        )
        _log.warning("adopted task published again", request_id=task.request_id, copy=number)
        for observer in self._observers:
            observer.task_republished(entry.mailbox.model)

    def _note_failure(self, entry: Entry, error: HeadraceError) -> None:
        """End a request whose task can't be made again; what failed once may only have been away for a moment."""
        if entry.silence is not None and entry.silence.fail() >= MOST_FAILURES:
            self._entries.end_early(entry, error.code, error.message)
