"""The engine that runs a model on vLLM."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog

from headrace.schema.errors import HeadraceError
from headrace.schema.events import Event, GenerationStarted
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, GenerationParameters
from headrace.schema.task import MAX_PRIORITY
from headrace.worker.engines.base import EngineDeadError, EngineJob, EngineLoad
from headrace.worker.engines.vllm.continuing.plan import Continuation, continue_plan
from headrace.worker.engines.vllm.fold import EventFold
from headrace.worker.engines.vllm.library import VllmLibrary
from headrace.worker.engines.vllm.life import EngineLife
from headrace.worker.engines.vllm.plan import JobPlan
from headrace.worker.engines.vllm.planner import JobPlanner
from headrace.worker.engines.vllm.run import SampleRun
from headrace.worker.engines.vllm.sampling import KIND, engine_priority
from headrace.worker.engines.vllm.search_run import SearchRun, begin_search

_log = structlog.get_logger("headrace.engine")

_WARM_UP_TOKENS = 2
_CLOSE_GRACE_SECONDS = 3.0


class VllmEngine:
    """Runs a model. Its core is a process of its own, which ends when this one does.

    Args:
        library: the engine of vLLM, made before the process had threads.
        name: the served name of the model, for the log.
        slots: generations that it runs at once.
        began_at: when making it began, on the monotonic clock, for the log.
    """

    def __init__(self, library: VllmLibrary, *, name: str, slots: int, began_at: float) -> None:
        self._library = library
        self._name = name
        self._slots = slots
        self._began_at = began_at
        self._planner = JobPlanner(library)
        self._life = EngineLife(name, KIND)
        self._unanswered: dict[str, tuple[EngineJob, int]] = {}

    @property
    def slots(self) -> int:
        """Generations that it runs at once."""
        return self._slots

    async def start(self) -> None:
        """Generate a little, so that the first user does not wait for what is only slow once."""
        job = EngineJob(
            request_id="warm-up",
            worker_id="",
            priority=MAX_PRIORITY,
            request=ChatCompletionRequest(
                model=self._name,
                messages=(Message("user", "Hello"),),
                generation_parameters=GenerationParameters(max_tokens=_WARM_UP_TOKENS),
            ),
        )
        try:
            async for _ in self.generate(job):
                pass
        except HeadraceError as error:
            raise EngineDeadError(f"the model {self._name} can't answer a first message: {error.message}") from error
        await self._library.load_adapters()
        self._library.on_death(self._life.note_death)
        _log.info("engine started", model=self._name, kind=KIND, seconds=round(time.monotonic() - self._began_at, 2))

    async def generate(self, job: EngineJob) -> AsyncGenerator[list[Event], None]:
        """Run a job; see `Engine.generate`."""
        self._life.check()
        continuation = self._continue(job, await self._planner.plan(job))
        plan = continuation.plan
        self._life.check()
        fold = EventFold(
            plan.prompts,
            [request.unit for request in plan.requests],
            job.request.output,
            tokens=self._library.prompts.tokens,
            make_reader=plan.make_reader,
            finished_tokens=continuation.finished_tokens,
        )
        run = await self._begin(job, plan) if plan.requests else None
        self._unanswered[job.request_id] = job, sum(request.prompt.token_count for request in plan.requests)
        try:
            yield [GenerationStarted(job.worker_id, plan.input_tokens)]
            if echoes := fold.begin():
                yield echoes
            if run is None:
                yield fold.end_without_engine()
                return
            for number, step in continuation.steps.items():
                yield fold.read(number, step)
            async with aclosing(run.outputs()) as outputs:
                async for number, output in outputs:
                    self._unanswered.pop(job.request_id, None)
                    if events := fold.read(number, output):
                        yield events
        finally:
            self._unanswered.pop(job.request_id, None)
            if run is not None and not fold.is_finished:
                job.on_cut(fold.usage)
                await run.abort()
            elif run is not None:
                run.end()

    def can_continue(self, request: ChatCompletionRequest) -> bool:
        """Tell whether a job goes on: by replay, which a search has no use for.

        A search that is held asks for no further step. Other jobs need not be told: the engine's scheduler takes back
        what is of the batch lane wherever an online request finds no slot; see `making_way`.
        """
        return self._library.can_replay and request.generation_parameters.beam_search is None

    def load(self) -> EngineLoad:
        """Return how full the engine is: by its own last step, and what it was given and has not answered yet."""
        total = self._library.kv_tokens_total
        used = round(self._library.kv_usage * total)
        waiting = sum(tokens for job, tokens in self._unanswered.values() if not job.suspension.is_on)
        return EngineLoad(kv_tokens_total=total, kv_tokens_used=used, waiting_tokens=waiting)

    async def wait_dead(self) -> None:
        """Return when the engine's process has died."""
        await self._life.wait_dead()

    async def close(self) -> None:
        """Stop the engine's process; jobs still running end with `EngineDeadError`."""
        if self._life.is_closed:
            return
        self._life.end()
        await self._library.close(grace_seconds=_CLOSE_GRACE_SECONDS)

    def _continue(self, job: EngineJob, plan: JobPlan) -> Continuation:
        # A beam search is the same once more, and its reader is told only what is new.
        told = () if job.request.generation_parameters.beam_search is not None else job.told
        return continue_plan(plan, told, speller=self._library.prompts, can_replay=self._library.can_replay)

    async def _begin(self, job: EngineJob, plan: JobPlan) -> "SampleRun | SearchRun":
        priority = engine_priority(job.priority, job.lane)
        if job.request.generation_parameters.beam_search is not None:
            return await begin_search(self._library, self._life, job, plan)
        run = SampleRun(
            self._library, self._life, request_id=job.request_id, priority=priority, model=job.request.model
        )
        await run.submit(plan.requests)
        return run
