"""`best_of` above any engine: sample more sequences than are wanted, and return the likeliest of them.

Which ones they are is known only at the end, so nothing of any sequence is said before that. The tokens of those that
are left out were sampled all the same, and count.
"""

import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec

from headrace.schema.control import ToldSequence
from headrace.schema.events import (
    Event,
    GenerationFinished,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
)
from headrace.schema.merge import merge_deltas
from headrace.worker.engines.base import Engine, EngineJob


def generate_best(engine: Engine, job: EngineJob) -> AsyncGenerator[list[Event], None]:
    """Run a job on an engine, with `best_of`, which the engine never sees; see `Engine.generate`.

    Where `best_of` is not more than `n`, these are the events of the engine itself.
    """
    parameters = job.request.generation_parameters
    if parameters.best_of is None:
        return engine.generate(job)
    if parameters.best_of <= parameters.n:
        return engine.generate(_with_candidates(job, parameters.n, told=job.told))
    return _generate_best(engine, job, candidates=parameters.best_of)


def _with_candidates(
    job: EngineJob, count: int, *, logprobs: bool = False, told: tuple[ToldSequence, ...] = ()
) -> EngineJob:
    request = job.request
    parameters = msgspec.structs.replace(request.generation_parameters, n=count, best_of=None)
    output = msgspec.structs.replace(request.output, logprobs=logprobs or request.output.logprobs)
    request = msgspec.structs.replace(request, generation_parameters=parameters, output=output)
    return msgspec.structs.replace(job, request=request, told=told)


async def _generate_best(engine: Engine, job: EngineJob, *, candidates: int) -> AsyncGenerator[list[Event], None]:
    held: dict[int, _Candidate] = {}
    # Nothing of a candidate is told before all of them are whole, so there is nothing to go on from.
    async with aclosing(engine.generate(_with_candidates(job, candidates, logprobs=True))) as batches:
        async for events in batches:
            if passed := _hold(events, held, keeps_logprobs=job.request.output.logprobs):
                if isinstance(passed[-1], GenerationFinished):
                    passed[-1:-1] = _choose(held, n=job.request.generation_parameters.n, candidates=candidates)
                yield passed


class _Candidate:
    """A sequence that may be returned."""

    __slots__ = ("deltas", "end", "index", "logprob", "tokens")

    def __init__(self, index: int) -> None:
        self.index = index
        self.deltas: list[SequenceDelta] = []
        self.end: SequenceFinished | None = None
        self.logprob = 0.0
        self.tokens = 0

    def grow(self, delta: SequenceDelta, *, keeps_logprobs: bool) -> None:
        for item in delta.logprobs or ():
            self.logprob += item.logprob
            self.tokens += 1
        self.deltas.append(delta if keeps_logprobs else msgspec.structs.replace(delta, logprobs=None))

    @property
    def rank(self) -> tuple[float, int]:
        """The likelier a token, the smaller; of two alike, the earlier."""
        return (-self.logprob / self.tokens if self.tokens else math.inf, self.index)

    def say(self, index: int) -> list[Event]:
        """Return all of it, as sequence `index`."""
        grown = merge_deltas([msgspec.structs.replace(delta, index=index) for delta in self.deltas])
        end = [] if self.end is None else [msgspec.structs.replace(self.end, index=index)]
        return [SequenceStarted(index), *(event for event in grown if event != SequenceDelta(index, "")), *end]


def _hold(events: Sequence[Event], held: dict[int, _Candidate], *, keeps_logprobs: bool) -> list[Event]:
    """Keep what belongs to sequences, and return the rest."""
    passed: list[Event] = []
    for event in events:
        match event:
            case SequenceStarted(index):
                held[index] = _Candidate(index)
            case SequenceDelta(index):
                held[index].grow(event, keeps_logprobs=keeps_logprobs)
            case SequenceFinished(index):
                held[index].end = event
            case _:
                passed.append(event)
    return passed


def _choose(held: dict[int, _Candidate], *, n: int, candidates: int) -> list[Event]:
    """Return the best `n` of each prompt, the best first."""
    prompts: dict[int, list[_Candidate]] = {}
    for index in sorted(held):
        prompts.setdefault(index // candidates, []).append(held[index])
    said: list[Event] = []
    for prompt, group in prompts.items():
        for place, candidate in enumerate(sorted(group, key=lambda item: item.rank)[:n]):
            said += candidate.say(prompt * n + place)
    return said
