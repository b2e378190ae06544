"""One job of the scripted engine, and its mailbox."""

import asyncio

from headrace.schema.events import (
    Event,
    GenerationFinished,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.worker.engines.base import EngineJob
from headrace.worker.engines.scripted.plan import SequencePlan
from headrace.worker.engines.scripted.script import Answer


class ScriptedRun:
    """How far a job has come, and how much of that its reader has taken.

    The mailbox is two numbers. A step moves `position` by one token, and events are made only when the reader takes
    them: what a slow reader missed becomes one delta, whatever its length, and costs the engine nothing.

    Attributes:
        position: steps that the job has had; each sequence that is not at its end got one token in each.
        end: the position at which the job is complete, or at which its fault strikes.
        due: no step is taken before this time of the loop's clock.
        error: what its reader gets after it has taken the rest.
    """

    __slots__ = (
        "_input_tokens", "_number", "_plans", "_priority", "_taken", "_token_ids", "_waiter",
        "due", "end", "error", "fault", "first_token_seconds", "position", "step_seconds",
    )  # fmt: skip

    def __init__(
        self, job: EngineJob, answer: Answer, *, plans: tuple[SequencePlan, ...], input_tokens: int, number: int
    ) -> None:
        self._plans = plans
        self._input_tokens = input_tokens
        self._token_ids = job.request.output.token_ids
        self._priority = job.priority
        self._number = number
        self._taken = 0
        self._waiter: asyncio.Future[None] | None = None
        longest = max(1, *(plan.length for plan in plans))
        self.position = 0
        self.end = longest if answer.fault is None else min(answer.fault_after_tokens, longest)
        self.fault = answer.fault
        self.first_token_seconds = answer.first_token_seconds
        self.step_seconds = answer.step_seconds
        self.due = 0.0
        self.error: Exception | None = None

    def __lt__(self, other: "ScriptedRun") -> bool:
        """Order what waits: the higher priority first, then the older."""
        return (-self._priority, self._number) < (-other._priority, other._number)

    @property
    def is_complete(self) -> bool:
        """Whether every token has come; a job with a fault never is."""
        return self.position >= self.end and self.fault is None

    def wake(self) -> None:
        """Tell the reader that there is something to take."""
        if (waiter := self._waiter) is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, error: Exception) -> None:
        """End the job; its reader first takes what came before."""
        if self.error is None:
            self.error = error
        self.wake()

    def next_step(self) -> asyncio.Future[None]:
        """Return what to await when there is nothing to take and no error."""
        self._waiter = waiter = asyncio.get_running_loop().create_future()
        return waiter

    def take(self) -> list[Event]:
        """Return every event since the last time."""
        taken, position = self._taken, self.position
        events: list[Event] = []
        if taken == position:
            return events
        self._taken = position
        for index, plan in enumerate(self._plans):
            length = plan.length
            if taken == 0:
                events.append(SequenceStarted(index))
            elif taken >= length:
                continue
            end = position if position < length else length
            text = plan.text_between(taken, end) if end > taken else ""
            if self._token_ids:
                events.append(SequenceDelta(index, text, plan.token_ids_between(taken, end)))
            elif text:
                events.append(SequenceDelta(index, text))
            if end == length:
                events.append(SequenceFinished(index, plan.finish_reason, plan.stop_sequence))
        if self.is_complete:
            events.append(GenerationFinished(self._usage()))
        return events

    def _usage(self) -> Usage:
        return Usage(self._input_tokens, sum(plan.length for plan in self._plans))
