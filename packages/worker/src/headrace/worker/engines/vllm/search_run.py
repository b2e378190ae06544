"""Running the beam searches of a job, one prompt after the other."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial

from headrace.worker.engines.base import EngineJob
from headrace.worker.engines.vllm.beam.opening import BeamTask
from headrace.worker.engines.vllm.beam.runner import BeamRun
from headrace.worker.engines.vllm.beam.steps import VllmSteps
from headrace.worker.engines.vllm.fold import StepOutput
from headrace.worker.engines.vllm.library import VllmLibrary
from headrace.worker.engines.vllm.life import EngineLife
from headrace.worker.engines.vllm.plan import EngineRequest, JobPlan
from headrace.worker.engines.vllm.sampling import engine_priority


class SearchRun:
    """The searches of a job.

    Args:
        searches: one for each prompt; they have asked the engine for nothing yet.
    """

    def __init__(self, searches: list[BeamRun]) -> None:
        self._searches = searches

    async def outputs(self) -> AsyncGenerator[tuple[int, StepOutput], None]:
        """Yield what each search comes to, with its number; closing it takes what runs out of the engine."""
        for number, search in enumerate(self._searches):
            async with aclosing(search.outputs()) as outputs:
                async for output in outputs:
                    yield number, output

    async def abort(self) -> None:
        """Nothing is left to take out of the engine: a search does so itself when its outputs are closed."""

    def end(self) -> None:
        """Nothing is left to forget."""


async def begin_search(library: VllmLibrary, life: EngineLife, job: EngineJob, plan: JobPlan) -> SearchRun:
    """Return the searches of a job.

    Raises:
        HeadraceError: `invalid_request` or `unsupported_parameter`: it can't be searched for like this.
    """
    return SearchRun([await _open(library, life, job, request, number) for number, request in enumerate(plan.requests)])


async def _open(library: VllmLibrary, life: EngineLife, job: EngineJob, request: EngineRequest, number: int) -> BeamRun:
    request_id = job.request_id if number == 0 else f"{job.request_id}-{number}"
    steps = VllmSteps(
        request.prompt,
        request_id,
        submit=partial(library.submit, priority=engine_priority(job.priority, job.lane), model=job.request.model),
        rest=partial(life.rest, job.suspension),
        read=life.read,
        abort=library.abort_all,
        queues=life.queues,
    )
    flags = job.request.output
    task = BeamTask(
        request_id=request_id,
        prompt_token_ids=list(request.prompt.token_ids),
        parameters=job.request.generation_parameters,
        arguments=request.arguments,
        top_logprobs=flags.top_logprobs if flags.logprobs else None,
    )
    return await library.open_search(steps, task)
