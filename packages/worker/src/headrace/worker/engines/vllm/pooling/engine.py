"""The engine that makes embeddings with a pooling model on vLLM."""

import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import structlog
from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event, GenerationFinished, GenerationStarted, PromptEmbedded, Usage
from headrace.schema.request import ChatCompletionRequest, EmbeddingParams
from headrace.schema.task import MAX_PRIORITY
from headrace.worker.engines.base import EngineDeadError, EngineJob, EngineLoad
from headrace.worker.engines.extensions import read_extension
from headrace.worker.engines.vllm.library import OutputQueue, VllmLibrary
from headrace.worker.engines.vllm.life import EngineLife
from headrace.worker.engines.vllm.sampling import KIND, engine_priority

_log = structlog.get_logger("headrace.engine")

_CLOSE_GRACE_SECONDS = 3.0


class _Extension(Struct, frozen=True, forbid_unknown_fields=True):
    """There is nothing more to say about an embedding."""


class PoolingEngine:
    """Makes embeddings. Its core is a process of its own, which ends when this one does.

    Args:
        library: the engine of vLLM, made before the process had threads.
        name: the served name of the model, for the log.
        slots: jobs that it runs at once, and prompts of one job.
        began_at: when making it began, on the monotonic clock, for the log.
    """

    def __init__(self, library: VllmLibrary, *, name: str, slots: int, began_at: float) -> None:
        self._library = library
        self._name = name
        self._slots = slots
        self._began_at = began_at
        self._life = EngineLife(name, KIND)

    @property
    def slots(self) -> int:
        """Jobs that it runs at once."""
        return self._slots

    async def start(self) -> None:
        """Embed a little, so that the first user does not wait for what is only slow once."""
        request = ChatCompletionRequest(model=self._name, prompts=("Hello",), embedding=EmbeddingParams())
        job = EngineJob(request_id="warm-up", worker_id="", priority=MAX_PRIORITY, request=request)
        try:
            async for _ in self.generate(job):
                pass
        except HeadraceError as error:
            raise EngineDeadError(f"the model {self._name} can't embed a first text: {error.message}") from error
        self._library.on_death(self._life.note_death)
        _log.info("engine started", model=self._name, kind=KIND, seconds=round(time.monotonic() - self._began_at, 2))

    async def generate(self, job: EngineJob) -> AsyncGenerator[list[Event], None]:
        """Run a job; see `Engine.generate`. There are no sequences, but one `PromptEmbedded` for each prompt."""
        self._life.check()
        parameters = self._check(job.request)
        prompts = await self._library.tokenize(job.request.prompts)
        self._check_prompts(prompts)
        self._life.check()
        input_tokens = sum(map(len, prompts))
        yield [GenerationStarted(job.worker_id, input_tokens)]
        if not job.request.count_only:
            run = _Run(self._library, self._life, job, parameters, prompts)
            is_whole = False
            try:
                while events := await run.next_events(self._slots):
                    yield events
                is_whole = True
            finally:
                if not is_whole:
                    job.on_cut(Usage(input_tokens, 0))
                await run.abort()
        yield [GenerationFinished(Usage(input_tokens, 0))]

    def _check(self, request: ChatCompletionRequest) -> EmbeddingParams:
        read_extension(request.generation_parameters.provider_extensions, KIND, _Extension)
        if request.embedding is None:
            message = "this model makes embeddings and does not chat; choose a model that generates"
            raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param="model")
        dimensions, known = request.embedding.dimensions, self._library.embedding_dimensions
        if dimensions is not None and not known.allows(dimensions):
            message = f"this model can't make embeddings of {dimensions} dimensions: {known.describe()}"
            raise HeadraceError(ErrorCode.UNSUPPORTED_PARAMETER, message, param="embedding.dimensions")
        return request.embedding

    def _check_prompts(self, prompts: Sequence[Sequence[int]]) -> None:
        most, size = self._library.max_model_tokens, self._library.vocabulary_size
        for index, prompt in enumerate(prompts):
            if max(prompt, default=0) >= size:
                message = f"prompt {index} has the token id {max(prompt)}; this model knows those below {size}"
                raise HeadraceError(ErrorCode.INVALID_REQUEST, message, param=f"prompts[{index}]")
            if len(prompt) > most:
                raise HeadraceError(
                    ErrorCode.CONTEXT_LENGTH_EXCEEDED,
                    f"prompt {index} has {len(prompt)} tokens; this model takes at most {most}: shorten it",
                    param=f"prompts[{index}]",
                )

    def can_continue(self, request: ChatCompletionRequest) -> bool:  # noqa: ARG002 - the same text has the same vector
        """Tell that every job goes on: there are no sequences, and embeddings are made again."""
        return True

    def load(self) -> EngineLoad:
        """Return nothing: a prompt is in the engine for one step, and keeps no cache."""
        return EngineLoad()

    async def wait_dead(self) -> None:
        """Return when the engine's process has died."""
        await self._life.wait_dead()

    async def close(self) -> None:
        """Stop the engine's process; jobs still running end with `EngineDeadError`."""
        if not self._life.is_closed:
            self._life.end()
            await self._library.close(grace_seconds=_CLOSE_GRACE_SECONDS)


class _Run:
    """The prompts of one job on their way through the engine, a few at a time, so that other jobs get their turn."""

    def __init__(
        self,
        library: VllmLibrary,
        life: EngineLife,
        job: EngineJob,
        parameters: EmbeddingParams,
        prompts: Sequence[list[int]],
    ) -> None:
        self._library = library
        self._life = life
        self._job = job
        self._parameters = parameters
        self._prompts = prompts
        self._submitted = 0
        self._running: dict[int, OutputQueue] = {}

    async def next_events(self, most: int) -> list[Event]:
        """Return the next embeddings, in the order of their prompts; none when all are there.

        Args:
            most: prompts that may be in the engine at once.
        """
        while self._submitted < len(self._prompts) and len(self._running) < most:
            await self._submit(self._submitted)
        events: list[Event] = []
        for index, queue in list(self._running.items()):
            output: Any = queue.get_nowait() if events else await self._life.read(queue)
            if output is None:
                break
            self._forget(index)
            events.append(PromptEmbedded(index, self._library.read_vector(output)))
        return events

    async def _submit(self, index: int) -> None:
        queue = await self._library.submit_embedding(
            self._prompts[index],
            dimensions=self._parameters.dimensions,
            request_id=f"{self._job.request_id}-{index}",
            priority=engine_priority(self._job.priority, self._job.lane),
            model=self._job.request.model,
        )
        self._submitted += 1
        self._running[index] = queue
        self._life.queues.add(queue)

    def _forget(self, index: int) -> None:
        self._life.queues.discard(self._running.pop(index))

    async def abort(self) -> None:
        """Take what is left out of the engine."""
        queues = list(self._running.values())
        self._life.queues.difference_update(queues)
        if queues and not self._life.is_closed:
            await self._library.abort_all(queues)
