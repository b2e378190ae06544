"""One job of the scripted engine, and its mailbox."""

import asyncio
import hashlib
from collections.abc import Sequence

from headrace.schema.events import (
    Event,
    GenerationFinished,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from headrace.worker.engines.base import EngineJob
from headrace.worker.engines.scripted.plan import Segment, SequencePlan
from headrace.worker.engines.scripted.resume import told_position
from headrace.worker.engines.scripted.script import Answer
from headrace.worker.engines.scripted.tokens import make_logprob


class ScriptedRun:
    """How far a job has come, and how much of that its reader has taken.

    The mailbox is two numbers. A step moves `position` by one token, and events are made only when the reader takes
    them: what a slow reader missed becomes one delta, whatever its length, and costs the engine nothing.

    Args:
        job: the job.
        answer: its pace and its fault.
        plans: what its sequences say.
        prompts: what it says of its prompts, before any sequence starts.
        input_tokens: of all prompts.
        number: counts jobs.

    Attributes:
        position: steps that the job has had; each sequence that is not at its end got one token in each.
        end: the position at which the job is complete, or at which its fault strikes.
        due: no step is taken before this time of the loop's clock.
        input_tokens: of all prompts.
        error: what its reader gets after it has taken the rest.
    """

    __slots__ = (
        "_is_batch", "_number", "_output", "_plans", "_priority", "_prompts", "_request_id", "_taken", "_waiter",
        "due", "end", "error", "fault", "first_token_seconds", "input_tokens", "position", "step_seconds",
    )  # fmt: skip

    def __init__(
        self,
        job: EngineJob,
        answer: Answer,
        *,
        plans: tuple[SequencePlan, ...],
        prompts: Sequence[PromptEchoed | PromptEmbedded],
        input_tokens: int,
        number: int,
    ) -> None:
        self._request_id = job.request_id
        self._plans = plans
        self._prompts = prompts
        self.input_tokens = input_tokens
        self._output = job.request.output
        self._priority = job.priority
        self._is_batch = job.lane == "batch"
        self._number = number
        self._taken = 0
        self._waiter: asyncio.Future[None] | None = None
        longest = max([1, *(plan.length for plan in plans)])
        self.end = longest if answer.fault is None else min(answer.fault_after_tokens, longest)
        self.position = min(told_position(job.told, sequences=len(plans)), self.end - 1) if job.told else 0
        self.fault = answer.fault
        self.first_token_seconds = answer.first_token_seconds
        self.step_seconds = answer.step_seconds
        self.due = 0.0
        self.error: Exception | None = None

    def __lt__(self, other: "ScriptedRun") -> bool:
        """Order what waits: the batch lane last, the higher priority first, then the older."""
        return (self._is_batch, -self._priority, self._number) < (other._is_batch, -other._priority, other._number)

    @property
    def kv_tokens(self) -> int:
        """Tokens of context that it occupies."""
        return self.input_tokens + sum(min(self.position, plan.length) for plan in self._plans)

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
        if taken == position:
            return []
        self._taken = position
        events: list[Event] = [*self._prompts] if taken == 0 else []
        for index, plan in enumerate(self._plans):
            length = plan.length
            if taken == 0:
                events.append(SequenceStarted(index))
            elif taken >= length:
                continue
            end = position if position < length else length
            if end > taken and (delta := self._take_delta(index, plan, taken, end)) is not None:
                events.append(delta)
            if end == length:
                events.append(SequenceFinished(index, plan.finish_reason, plan.stop_sequence))
        if self.is_complete:
            events.append(GenerationFinished(self.usage))
        return events

    def _take_delta(self, index: int, plan: SequencePlan, start: int, end: int) -> SequenceDelta | None:
        """Return what a sequence grew by, or None where nothing of that is for the reader."""
        output = self._output
        ids = plan.token_ids_between(start, end) if output.token_ids else None
        logprobs = _make_logprobs(plan.texts[start:end], output.top_logprobs) if output.logprobs else None
        if plan.segments:
            return self._take_segments(SequenceDelta(index, "", ids, logprobs), plan, start, end)
        text = plan.text_between(start, end)
        return SequenceDelta(index, text, ids, logprobs) if text or ids or logprobs else None

    def _take_segments(self, tokens: SequenceDelta, plan: SequencePlan, start: int, end: int) -> SequenceDelta | None:
        said = {"reasoning": "", "text": ""}
        calls: list[ToolCallDelta] = []
        for part in plan.segments:
            begin, stop = max(start, part.start), min(end, part.end)
            if begin >= stop:
                continue
            text = plan.text_between(begin, stop)
            if part.kind == "call":
                calls.append(self._take_call(tokens.index, part, text, begins=begin == part.start))
            elif part.kind == "text" or self._output.reasoning:
                said[part.kind] = text
        if not (said["reasoning"] or said["text"] or calls or tokens.token_ids or tokens.logprobs):
            return None
        return SequenceDelta(
            tokens.index, said["text"], tokens.token_ids, tokens.logprobs, said["reasoning"], tuple(calls)
        )

    def _take_call(self, index: int, part: Segment, text: str, *, begins: bool) -> ToolCallDelta:
        if not begins:
            return ToolCallDelta(part.call, text)
        return ToolCallDelta(part.call, text, make_call_id(self._request_id, index, part.call), part.name)

    @property
    def usage(self) -> Usage:
        """What it has used so far, whether its reader has taken it or not."""
        ends = [min(self.position, plan.length) for plan in self._plans]
        reasoning = sum(plan.reasoning_tokens_until(end) for plan, end in zip(self._plans, ends, strict=True))
        return Usage(self.input_tokens, sum(ends), reasoning_tokens=reasoning)


def _make_logprobs(texts: Sequence[str], top: int) -> tuple[TokenLogprob, ...]:
    return tuple(make_logprob(text, top) for text in texts)


def make_call_id(request_id: str, index: int, call: int) -> str:
    """Return the id of a tool call: the same job makes the same ones again."""
    return f"call_{hashlib.sha256(f'{request_id}/{index}/{call}'.encode()).hexdigest()[:24]}"
