"""A generation that this worker has in hand, and what was learnt about it meanwhile."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from headrace.schema.errors import ErrorCode
from headrace.schema.events import Stage, Timings, Usage
from headrace.schema.last_word import most_used
from headrace.schema.task import GenerationTask
from headrace.worker.observer import GenerationPaused, GenerationRan, GenerationResumed, WorkerObserver

StopReason = Literal["cancelled", "unread", "superseded", "handed back"]


class Run:
    """A generation in hand. A `TurnListener`.

    Args:
        task: what it is.
        asyncio_task: runs it.
        clock: Unix seconds.
        observers: who gets the facts.

    Attributes:
        task: what it is.
        began: when it was picked up, or when it began to run where it had to wait for a place after that.
        first_token: when there was one.
        used: all that it has used, as far as is known; the whole of it once it has ended.
        is_unheard: its end was not told to anybody.
        goes_on: it did not end here: another worker has it, or will.
        outcome: how it ended, or would if it ended now.
        attempt: which try at it this is.
        stop_reason: why it was stopped, if it was.
        pauses: how often it made way for another one.
        is_waiting: it waits for a place in the engine.
    """

    def __init__(
        self,
        task: GenerationTask,
        asyncio_task: "asyncio.Task[None] | None",
        *,
        clock: Callable[[], float],
        observers: Sequence[WorkerObserver],
    ) -> None:
        self.task = task
        self._asyncio_task = asyncio_task
        self._clock = clock
        self._observers = observers
        self.picked_up = self.began = clock()
        self.first_token: float | None = None
        self.used = Usage(0, 0)
        self.is_unheard = False
        self.goes_on = False
        self.outcome: str = ErrorCode.CANCELLED
        self.attempt = 0
        self.stop_reason: StopReason | None = None
        self.pauses = 0
        self.is_waiting = False
        self._is_reported = False
        self._goes_when_idle = False
        self._has_run = False
        self._waiting_since = 0.0

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        if self.first_token is not None:
            return "decode"
        return "queue" if self.is_waiting and not self._has_run else "prefill"

    @property
    def is_orphan(self) -> bool:
        """Whether nobody may have read it to its end: its scheduler is gone, or another one gave it up for that one."""
        was_given_up = self.task.retained and self.stop_reason == "cancelled"
        return self.is_unheard or self.stop_reason == "unread" or was_given_up

    def note_used(self, usage: Usage) -> None:
        """Take what it has used so far."""
        self.used = most_used([self.used, usage])

    def stop(self, reason: StopReason) -> None:
        """End it."""
        if self.stop_reason is None and self._asyncio_task is not None:
            self.stop_reason = reason
            self._asyncio_task.cancel()

    def go_when_idle(self) -> None:
        """Hand a generation of the batch lane back as soon as it does not run: the worker is about to end."""
        self._goes_when_idle = True
        if self.is_waiting:
            self._go()

    def wait(self) -> None:
        """Take notice that it waits for a place."""
        self.is_waiting = True
        self._waiting_since = self._clock()
        if self._has_run:
            self.pauses += 1
            for observer in self._observers:
                observer.generation_paused(GenerationPaused(self.task.request_id, self.task.request.model))
        if self._goes_when_idle:
            self._go()

    def _go(self) -> None:
        if self.task.lane == "batch":
            self.stop("handed back")

    def begin(self) -> None:
        """Take notice that it runs."""
        if self.is_waiting:
            now, self.is_waiting = self._clock(), False
            if self._has_run:
                fact = GenerationResumed(self.task.request_id, self.task.request.model, now - self._waiting_since)
                for observer in self._observers:
                    observer.generation_resumed(fact)
            else:
                self.began = now
        self._has_run = True

    def time_taken(self) -> Timings:
        """Return where its time went up to now."""
        now = self._clock()
        return Timings(
            queue_seconds=max(0.0, self.began - self.task.submitted_at),
            first_token_seconds=(self.first_token or now) - self.began,
            total_seconds=now - self.began,
        )

    def report(self) -> None:
        """Tell the observers that it has left this worker; once, whoever says it first."""
        if self._is_reported:
            return
        self._is_reported = True
        fact = GenerationRan(
            request_id=self.task.request_id,
            model=self.task.request.model,
            outcome=self.outcome,
            queue_seconds=max(0.0, self.began - self.task.submitted_at),
            seconds=self._clock() - self.began,
            first_token_seconds=None if self.first_token is None else self.first_token - self.began,
            output_tokens=0 if self.goes_on else self.used.output_tokens,
            lane=self.task.lane,
            pauses=self.pauses,
        )
        for observer in self._observers:
            observer.generation_ran(fact)
