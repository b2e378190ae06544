"""The step loop of the scripted engine."""

import asyncio
import heapq
import math
from collections.abc import AsyncGenerator
from functools import partial

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event, GenerationStarted
from headrace.schema.request import ChatCompletionRequest
from headrace.worker.engines.base import EngineDeadError, EngineJob, EngineLoad
from headrace.worker.engines.scripted.reading import read_job
from headrace.worker.engines.scripted.run import ScriptedRun
from headrace.worker.engines.scripted.script import Script
from headrace.worker.engines.suspension import Suspension

# A timer may fire a little early: what is due within this time is due.
_CLOCK_SLACK_SECONDS = 1e-4


class ScriptedEngine:
    """Plays a script. It has one timer, whatever the number of jobs, as a real engine has one step.

    Args:
        script: what to answer.
        slots: jobs that run at once; the others wait, the higher priority first.
        max_model_tokens: context, prompt and answer together. A word of the prompt is one token.
    """

    def __init__(self, script: Script, *, slots: int, max_model_tokens: int) -> None:
        self._script = script
        self._slots = slots
        self._max_model_tokens = max_model_tokens
        self._running: list[ScriptedRun] = []
        self._waiting: list[ScriptedRun] = []
        self._suspended: set[ScriptedRun] = set()
        self._jobs = 0
        self._timer: asyncio.Handle | None = None
        self._timer_at = 0.0
        self._last_step = -math.inf
        self._end: str | None = None
        self._dead = asyncio.Event()

    @property
    def slots(self) -> int:
        """Generations that it runs at once."""
        return self._slots

    async def start(self) -> None:
        """Do nothing: a script is always ready."""

    async def generate(self, job: EngineJob) -> AsyncGenerator[list[Event], None]:
        """Run a job; see `Engine.generate`."""
        run, started = self._accept(job)
        try:
            yield [started]
            while True:
                if events := run.take():
                    yield events
                    if run.is_complete:
                        return
                elif run.error is not None:
                    raise run.error
                else:
                    await run.next_step()
        finally:
            self._leave(run)
            if not run.is_complete:
                job.on_cut(run.usage)

    def can_continue(self, request: ChatCompletionRequest) -> bool:
        """Tell that every job goes on but a beam search: a script could, and plays an engine that searches anew."""
        return request.generation_parameters.beam_search is None

    def load(self) -> EngineLoad:
        """Return how full it pretends to be."""
        total = self._script.kv_tokens
        if not total:
            return EngineLoad()
        return EngineLoad(
            kv_tokens_total=total,
            kv_tokens_used=sum(run.kv_tokens for run in self._running),
            waiting_tokens=sum(run.input_tokens for run in self._waiting),
        )

    async def wait_dead(self) -> None:
        """Return when a script has killed the engine."""
        await self._dead.wait()

    async def close(self) -> None:
        """Stop; jobs still running end with `EngineDeadError`."""
        self._stop("the engine was closed")

    def _accept(self, job: EngineJob) -> tuple[ScriptedRun, GenerationStarted]:
        if self._end is not None:
            raise EngineDeadError(self._end)
        run = read_job(job, self._script, turn=self._jobs, max_model_tokens=self._max_model_tokens)
        self._jobs += 1
        self._line_up(run)
        job.suspension.follow(partial(self._hold_or_go_on, run, job.suspension))
        self._hold_or_go_on(run, job.suspension)
        return run, GenerationStarted(job.worker_id, run.input_tokens)

    def _line_up(self, run: ScriptedRun) -> None:
        heapq.heappush(self._waiting, run)
        self._admit_soon()

    def _leave(self, run: ScriptedRun) -> bool:
        """Tell whether the run was still under way."""
        if run in self._running:
            self._running.remove(run)
            self._admit_soon()
        elif run in self._waiting:
            self._waiting.remove(run)
            heapq.heapify(self._waiting)
        elif run in self._suspended:
            self._suspended.remove(run)
        else:
            return False
        return True

    def _hold_or_go_on(self, run: ScriptedRun, suspension: Suspension) -> None:
        if suspension.is_on != (run in self._suspended) and self._leave(run):
            if suspension.is_on:
                self._suspended.add(run)
            else:
                self._line_up(run)

    def _admit_soon(self) -> None:
        """Bring the next step forward to when a waiting job can have its slot: at once where nothing runs."""
        if not self._waiting or len(self._running) >= self._slots or self._end is not None:
            return
        now = asyncio.get_running_loop().time()
        wanted = max(now, self._last_step + self._script.step_seconds) if self._running else now
        if self._timer is None or self._timer_at > wanted:
            self._set_timer(wanted)

    def _set_timer(self, when: float) -> None:
        loop = asyncio.get_running_loop()
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = when
        self._timer = loop.call_soon(self._step) if when <= loop.time() else loop.call_at(when, self._step)

    def _step(self) -> None:
        """Give each running sequence its next token, and wake all their readers in this turn of the loop."""
        self._timer = None
        now = asyncio.get_running_loop().time()
        # Steps keep their grid: a late one does not push the others back, unless a whole step was missed.
        late = now - self._timer_at
        self._last_step = self._timer_at if late < self._script.step_seconds else now
        self._admit(now)
        due_by = now + _CLOCK_SLACK_SECONDS
        next_due = math.inf
        ended = False
        for run in self._running:
            if run.due <= due_by:
                if run.position < run.end:
                    run.position += 1
                    run.wake()
                    if run.step_seconds:
                        run.due = now + run.step_seconds
                else:
                    self._apply_fault(run)
                ended = ended or run.position >= run.end
            if run.due < next_due:
                next_due = run.due
        if ended:
            self._running = [run for run in self._running if not run.is_complete and run.error is None]
        self._plan_step(next_due)

    def _admit(self, now: float) -> None:
        while self._waiting and len(self._running) < self._slots:
            run = heapq.heappop(self._waiting)
            run.due = now + run.first_token_seconds
            self._running.append(run)

    def _plan_step(self, next_due: float) -> None:
        if self._end is not None:
            return
        if self._waiting and len(self._running) < self._slots:
            next_due = 0.0
        elif not self._running or next_due == math.inf:
            return
        self._set_timer(max(self._last_step + self._script.step_seconds, next_due))

    def _apply_fault(self, run: ScriptedRun) -> None:
        if run.fault == "error":
            run.fail(HeadraceError(ErrorCode.ENGINE_ERROR, "the script made this generation fail"))
        elif run.fault == "dead":
            self._stop("the script killed the engine")
            self._dead.set()
        else:
            run.due = math.inf

    def _stop(self, reason: str) -> None:
        if self._end is not None:
            return
        self._end = reason
        if self._timer is not None:
            self._timer.cancel()
        for run in [*self._running, *self._waiting, *self._suspended]:
            run.fail(EngineDeadError(reason))
