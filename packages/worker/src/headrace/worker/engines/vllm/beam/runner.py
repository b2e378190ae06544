"""Drives the engine with a search: one request for each live beam, one token a step.

The requests of a step run in one batch. Their prompts are the prompt and the beam so far, of which the engine has all
but the end in its prefix cache. Memory is bounded by width and length, and whatever ends the search takes what runs
out of the engine first.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Protocol, TypeVar

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.worker.engines.vllm.beam.endings import drop_early_endings, find_ending
from headrace.worker.engines.vllm.beam.grammar import Constraint
from headrace.worker.engines.vllm.beam.masks import MASK_ARGUMENT, Mask
from headrace.worker.engines.vllm.beam.plan import BeamPlan
from headrace.worker.engines.vllm.beam.search import (
    Beam,
    Expansion,
    SearchState,
    advance,
    count_certain,
    extend_common_prefix,
    list_returnable,
)
from headrace.worker.engines.vllm.beam.streams import AnswerStream, BeamOutput, BeamSequence

_NO_LOGPROB = float("-inf")


class StepRequest(Protocol):
    """A request for one token that the engine has."""

    async def output(self) -> Any:
        """Return what came of it, in the form of vLLM's `RequestOutput`."""
        ...


R = TypeVar("R", bound=StepRequest)


class StepEngine(Protocol[R]):
    """Runs single steps of one prompt."""

    async def submit(self, token_ids: Sequence[int], arguments: dict[str, Any], *, name: str) -> R:
        """Ask for what follows the prompt and these tokens."""
        ...

    async def abort(self, requests: Sequence[R]) -> None:
        """Take requests out of the engine; those that have ended are left alone."""
        ...


class BeamRun:
    """One search.

    Args:
        engine: runs its steps.
        plan: how to search.
        constraint: what restricts the tokens.
        decode: tokens to text, for stop texts.
        open_stream: begins one of the answers.
    """

    def __init__(
        self,
        engine: StepEngine[Any],
        plan: BeamPlan,
        *,
        constraint: Constraint,
        decode: Callable[[Sequence[int]], str],
        open_stream: Callable[[int], AnswerStream],
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._constraint = constraint
        self._decode = decode
        self._open_stream = open_stream
        self._streams: list[AnswerStream] = []
        self._certain_tokens = 0
        self._cached_tokens: int | None = None

    async def outputs(self) -> AsyncGenerator[BeamOutput, None]:
        """Search, and yield what becomes certain; close it to abort what runs.

        Raises:
            HeadraceError: `engine_error`: the engine failed on a step.
            EngineDeadError: the engine died.
        """
        async with aclosing(self._states()) as states:
            async for state in states:
                if state.is_over:
                    yield self._finish(state)
                elif grown := self._grow(state):
                    yield BeamOutput(outputs=grown, num_cached_tokens=self._cached_tokens)

    async def _states(self) -> AsyncGenerator[SearchState, None]:
        plan, state, step = self._plan, SearchState(), 0
        masks = await self._in_thread(self._constraint.masks)
        while not state.is_over:
            expansions = await self._expand(state.live, masks, step=step)
            state = advance(state, expansions, plan.rules, end_of=self._end_of)
            step += 1
            yield state
            if not state.is_over:
                masks = await self._in_thread(partial(self._constraint.follow, state.live))

    async def _in_thread(self, work: Callable[[], list[Mask | None]]) -> list[Mask | None]:
        # Only a grammar is worth the way to a thread and back.
        return await asyncio.to_thread(work) if self._constraint.has_grammar else work()

    def _end_of(self, beam: Beam) -> Any:
        return find_ending(beam, self._plan.ends, self._decode)

    async def _expand(self, live: Sequence[Beam], masks: Sequence[Mask | None], *, step: int) -> list[Expansion]:
        requests: list[StepRequest] = []
        try:
            for number, (beam, mask) in enumerate(zip(live, masks, strict=True)):
                name = f"beam-{step}-{number}"
                requests.append(await self._engine.submit(beam.token_ids, self._arguments(mask), name=name))
            outputs = [await request.output() for request in requests]
        except BaseException:
            await self._engine.abort(requests)
            raise
        if self._cached_tokens is None:
            self._cached_tokens = outputs[0].num_cached_tokens or 0
        ends = self._plan.ends
        return [
            drop_early_endings(_read_expansion(output), beam, ends) for output, beam in zip(outputs, live, strict=True)
        ]

    def _arguments(self, mask: Mask | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": self._plan.candidates,
            "detokenize": False,
        }
        if mask is not None:
            arguments["extra_args"] = {MASK_ARGUMENT: mask.tobytes()}
        return arguments

    def _grow(self, state: SearchState) -> list[BeamSequence]:
        """Return what the answers are sure to grow by."""
        rules, known = self._plan.rules, self._certain_tokens
        beams = list_returnable(state, rules)
        self._certain_tokens = extend_common_prefix(beams, known)
        grown: list[BeamSequence] = []
        for index in range(count_certain(state, rules)):
            is_new = index == len(self._streams)
            if is_new:
                self._streams.append(self._open_stream(index))
            if self._certain_tokens > (0 if is_new else known):
                grown.append(self._streams[index].grow(beams[0], self._certain_tokens))
        return grown

    def _finish(self, state: SearchState) -> BeamOutput:
        answers = state.finished[: self._plan.rules.count]
        if not answers or len(answers) < len(self._streams):
            raise HeadraceError(ErrorCode.ENGINE_ERROR, "the search came to an end that the constraint does not allow")
        while len(self._streams) < len(answers):
            self._streams.append(self._open_stream(len(self._streams)))
        outputs = [stream.finish(answer) for stream, answer in zip(self._streams, answers, strict=True)]
        return BeamOutput(outputs=outputs, finished=True, num_cached_tokens=self._cached_tokens)


def _read_expansion(output: Any) -> Expansion:
    sequence = output.outputs[0]
    if not sequence.logprobs:
        # An engine that gives a request up says so here.
        raise HeadraceError(ErrorCode.ENGINE_ERROR, "the engine gave this generation up before its end")
    found: dict[int, float] = {
        token_id: entry.logprob for token_id, entry in sequence.logprobs[0].items() if entry.logprob > _NO_LOGPROB
    }
    ranked = sorted(found.items(), key=lambda pair: -pair[1])
    return Expansion(tuple(token_id for token_id, _ in ranked), tuple(logprob for _, logprob in ranked))
