"""The engine that runs a model on vLLM."""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import structlog

from headrace.schema.errors import HeadraceError
from headrace.schema.events import Event, GenerationStarted
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, GenerationParameters
from headrace.schema.task import MAX_PRIORITY
from headrace.worker.engines.base import EngineDeadError, EngineJob
from headrace.worker.engines.context import output_budget
from headrace.worker.engines.extensions import read_extension
from headrace.worker.engines.vllm.beam.opening import BeamTask
from headrace.worker.engines.vllm.beam.runner import BeamRun
from headrace.worker.engines.vllm.beam.steps import VllmSteps
from headrace.worker.engines.vllm.fold import EventFold, StepOutput
from headrace.worker.engines.vllm.library import OutputQueue, RenderedPrompt, VllmLibrary
from headrace.worker.engines.vllm.sampling import (
    KIND,
    VllmExtension,
    effective_max_tokens,
    engine_priority,
    sampling_arguments,
)

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
        self._queues: set[OutputQueue] = set()
        self._closed = False
        self._dead = asyncio.Event()

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
        self._library.on_death(self._note_death)
        _log.info("engine started", model=self._name, kind=KIND, seconds=round(time.monotonic() - self._began_at, 2))

    async def generate(self, job: EngineJob) -> AsyncGenerator[list[Event], None]:
        """Run a job; see `Engine.generate`."""
        self._check_alive()
        request = job.request
        parameters = request.generation_parameters
        extension = read_extension(parameters.provider_extensions, KIND, VllmExtension)
        prompt = await self._library.render(request.messages, extension.chat_template_kwargs if extension else {})
        budget = output_budget(
            input_tokens=prompt.token_count,
            max_tokens=parameters.max_tokens,
            max_model_tokens=self._library.max_model_tokens,
        )
        defaults = self._library.defaults
        arguments = sampling_arguments(
            parameters,
            extension,
            defaults=defaults,
            max_tokens=effective_max_tokens(parameters, defaults, budget=budget),
        )
        fold = EventFold(input_tokens=prompt.token_count, token_ids=request.output.token_ids)
        self._check_alive()
        if parameters.beam_search is not None:
            search = await self._beam_search(job, prompt, arguments)
            yield [GenerationStarted(job.worker_id, prompt.token_count)]
            async with aclosing(search.outputs()) as outputs:
                async for output in outputs:
                    if events := fold.read(output):
                        yield events
            return
        queue = await self._library.submit(
            prompt,
            arguments,
            request_id=job.request_id,
            priority=engine_priority(job.priority),
            model=job.request.model,
        )
        self._queues.add(queue)
        try:
            yield [GenerationStarted(job.worker_id, prompt.token_count)]
            while not fold.is_finished:
                if events := fold.read(await self._next_output(queue)):
                    yield events
        finally:
            self._queues.discard(queue)
            if not fold.is_finished and not self._closed:
                await self._library.abort(queue)

    async def _beam_search(self, job: EngineJob, prompt: RenderedPrompt, arguments: dict[str, Any]) -> BeamRun:
        """Return a search for the likeliest answers to a prompt; its outputs have the form of vLLM's own."""
        request, library = job.request, self._library
        steps = VllmSteps(
            prompt,
            job.request_id,
            submit=partial(library.submit, priority=engine_priority(job.priority), model=request.model),
            read=self._next_output,
            abort=library.abort_all,
            queues=self._queues,
        )
        task = BeamTask(
            request_id=job.request_id,
            prompt_token_ids=list(prompt.content["prompt_token_ids"]),
            parameters=request.generation_parameters,
            arguments=arguments,
            top_logprobs=request.output.top_logprobs if request.output.logprobs else None,
        )
        return await library.open_search(steps, task)

    async def wait_dead(self) -> None:
        """Return when the engine's process has died."""
        await self._dead.wait()

    async def close(self) -> None:
        """Stop the engine's process; jobs still running end with `EngineDeadError`."""
        if self._closed:
            return
        self._closed = True
        for queue in self._queues:
            queue.put(EngineDeadError("the engine was closed"))
        await self._library.close(grace_seconds=_CLOSE_GRACE_SECONDS)

    async def _next_output(self, queue: OutputQueue) -> StepOutput:
        try:
            return queue.get_nowait() or await queue.get()
        except Exception as error:
            # What a queue raises is told to all requests at once: after that vLLM answers nobody any more.
            raise EngineDeadError("the engine was closed" if self._closed else "the engine has died") from error

    def _check_alive(self) -> None:
        if self._closed:
            raise EngineDeadError("the engine was closed")
        if self._dead.is_set():
            raise EngineDeadError("the engine has died")

    def _note_death(self) -> None:
        if not self._closed:
            _log.error("engine died", model=self._name, kind=KIND)
            self._dead.set()
