"""Single steps of a search on vLLM: each is a request of its own."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from headrace.worker.engines.vllm.fold import StepOutput
from headrace.worker.engines.vllm.library import OutputQueue, RenderedPrompt

ReadQueue = Callable[[OutputQueue], Awaitable[StepOutput]]


class SubmitStep(Protocol):
    """Hands the engine a prompt with arguments of `SamplingParams`, under an id."""

    async def __call__(self, prompt: RenderedPrompt, arguments: dict[str, Any], *, request_id: str) -> OutputQueue:
        """Return where its output comes."""
        ...


class _QueuedStep:
    def __init__(self, queue: OutputQueue, read: ReadQueue) -> None:
        self.queue = queue
        self.is_done = False
        self._read = read

    async def output(self) -> StepOutput:
        output = await self._read(self.queue)
        self.is_done = True
        return output


class VllmSteps:
    """Runs the steps of one prompt.

    Args:
        prompt: what the beams follow.
        request_id: what the ids of its requests begin with.
        submit: hands the engine a request.
        rest: waits while the search is held; between two of its requests it can be.
        read: waits for the next output of a queue.
        abort: takes requests out of the engine, all in one message.
        queues: where a queue is while its request runs, so that the engine's end reaches who waits for it.
    """

    def __init__(
        self,
        prompt: RenderedPrompt,
        request_id: str,
        *,
        submit: SubmitStep,
        rest: Callable[[], Awaitable[None]],
        read: ReadQueue,
        abort: Callable[[Sequence[OutputQueue]], Awaitable[None]],
        queues: set[OutputQueue],
    ) -> None:
        self._prompt = prompt
        self._request_id = request_id
        self._submit = submit
        self._rest = rest
        self._read = read
        self._abort = abort
        self._queues = queues

    async def submit(self, token_ids: Sequence[int], arguments: dict[str, Any], *, name: str) -> _QueuedStep:
        """Ask for what follows the prompt and these tokens, once the search may."""
        await self._rest()
        content = self._prompt.content
        longer = {**content, "prompt_token_ids": [*content["prompt_token_ids"], *token_ids]}
        prompt = RenderedPrompt(longer, len(longer["prompt_token_ids"]))
        queue = await self._submit(prompt, arguments, request_id=f"{self._request_id}-{name}")
        self._queues.add(queue)
        return _QueuedStep(queue, self._take)

    async def _take(self, queue: OutputQueue) -> StepOutput:
        output = await self._read(queue)
        self._queues.discard(queue)
        return output

    async def abort(self, requests: Sequence[_QueuedStep]) -> None:
        """Take requests out of the engine; those that have ended are left alone."""
        queues = [request.queue for request in requests if not request.is_done]
        self._queues.difference_update(queues)
        if queues:
            await self._abort(queues)
