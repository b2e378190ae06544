"""`best_of` samples more than it returns, on any engine."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import pytest
from msgspec import structs

from headrace.schema.control import ToldSequence
from headrace.schema.events import (
    Event,
    GenerationFinished,
    GenerationStarted,
    PromptEchoed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    TokenLogprob,
    Usage,
)
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags
from headrace.worker.engines.base import EngineJob, EngineLoad
from headrace.worker.engines.best_of import generate_best
from headrace.worker.engines.scripted import Rule, Script, ScriptedEngine
from headrace.worker.engines.scripted.tokens import make_logprob, split_tokens
from tests.contract.engines.jobs import Answer, make_whole_job

TEXTS = ("the wheel turns", "a stream of light", "rain again", "moss on stone", "still water")


class ListEngine:
    """An `Engine` that plays lists of events, and remembers what it was asked."""

    def __init__(self, *steps: list[Event]) -> None:
        self.steps = steps
        self.jobs: list[EngineJob] = []
        self.closed = 0

    @property
    def slots(self) -> int:
        return 1

    async def start(self) -> None: ...

    async def generate(self, job: EngineJob) -> AsyncGenerator[list[Event], None]:
        self.jobs.append(job)
        try:
            for step in self.steps:
                yield step
        finally:
            self.closed += 1

    def can_continue(self, request: ChatCompletionRequest) -> bool:
        return False

    def load(self) -> EngineLoad:
        return EngineLoad()

    async def wait_dead(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None: ...


async def read_best(engine: Any, **fields: Any) -> Answer:
    answer = Answer()
    async with aclosing(generate_best(engine, make_whole_job("a", **fields))) as steps:
        async for step in steps:
            answer.add(step)
    return answer


def mean(text: str) -> float:
    values = [make_logprob(token, 0).logprob for token in split_tokens(text)]
    return sum(values) / len(values)


def scripted(*rules: Rule) -> ScriptedEngine:
    return ScriptedEngine(Script(step_seconds=0.0, rules=rules), slots=1, max_model_tokens=1000)


@pytest.mark.parametrize("n", [1, 2, 4])
async def test_the_likeliest_a_token_come_back_the_best_first(n: int) -> None:
    parameters = GenerationParameters(n=n, best_of=5, seed=0)
    answer = await read_best(scripted(Rule(text=TEXTS)), generation_parameters=parameters)
    assert list(answer.texts.values()) == sorted(TEXTS, key=mean, reverse=True)[:n]
    assert list(answer.texts) == list(range(n))
    assert answer.usage == Usage(4, sum(len(split_tokens(text)) for text in TEXTS))
    assert not any(sequence.logprobs for sequence in answer.fold.answer().sequences)


async def test_each_prompt_has_its_own_best() -> None:
    rules = (Rule(when="first", text=TEXTS[:3]), Rule(text=TEXTS[2:]))
    parameters = GenerationParameters(n=2, best_of=3, seed=0)
    output = OutputFlags(logprobs=True, top_logprobs=1, token_ids=True, prompt=True)
    answer = await read_best(
        scripted(*rules), prompts=("first", "second"), generation_parameters=parameters, output=output
    )
    expected = [*sorted(TEXTS[:3], key=mean)[:0:-1], *sorted(TEXTS[2:], key=mean)[:0:-1]]
    whole = answer.fold.answer()
    assert [sequence.text for sequence in whole.sequences] == expected
    assert [prompt.text for prompt in whole.prompts] == ["first", "second"]
    for sequence in whole.sequences:
        assert sequence.logprobs is not None
        assert sequence.token_ids == tuple(item.token_id for item in sequence.logprobs)


async def test_nothing_of_a_sequence_is_said_before_all_are_complete() -> None:
    parameters = GenerationParameters(best_of=3)
    answer = await read_best(
        scripted(Rule(tokens=20)), generation_parameters=parameters, output=OutputFlags(prompt=True)
    )
    assert [[type(event) for event in step] for step in answer.steps] == [
        [GenerationStarted],
        [PromptEchoed],
        [SequenceStarted, SequenceDelta, SequenceFinished, GenerationFinished],
    ]


async def test_a_sequence_without_a_token_is_the_last_to_be_chosen() -> None:
    logprob = TokenLogprob(1, "x", -50.0)
    engine = ListEngine(
        [GenerationStarted("worker-1", 1)],
        [SequenceStarted(0), SequenceFinished(0, "stop"), SequenceStarted(1), SequenceDelta(1, "x", None, (logprob,))],
        [SequenceFinished(1, "stop", "END"), GenerationFinished(Usage(1, 1))],
    )
    answer = await read_best(engine, generation_parameters=GenerationParameters(best_of=2))
    assert answer.texts == {0: "x"}
    assert answer.finished[0] == SequenceFinished(0, "stop", "END")


@pytest.mark.parametrize("best_of", [None, 2])
async def test_without_a_choice_the_events_are_the_engines_own(best_of: int | None) -> None:
    engine = ListEngine([GenerationStarted("worker-1", 1)], [GenerationFinished(Usage(1, 0))])
    answer = await read_best(engine, generation_parameters=GenerationParameters(n=2, best_of=best_of))
    assert all(given is shown for given, shown in zip(engine.steps, answer.steps, strict=True))
    assert engine.jobs[0].request.generation_parameters == GenerationParameters(n=2)
    assert not engine.jobs[0].request.output.logprobs


async def test_leaving_early_leaves_the_engine() -> None:
    engine = ListEngine([GenerationStarted("worker-1", 1)], [SequenceStarted(0)])
    steps = generate_best(engine, make_whole_job("a", generation_parameters=GenerationParameters(best_of=2)))
    await anext(steps)
    await steps.aclose()
    assert engine.closed == 1


async def test_what_was_told_of_sequences_that_are_all_returned_reaches_the_engine() -> None:
    engine = ListEngine([GenerationFinished(Usage(1, 1))])
    told = (ToldSequence(0, (1, 2)),)
    for best_of, expected in ((2, told), (3, ())):
        parameters = GenerationParameters(n=2, best_of=best_of)
        job = structs.replace(make_whole_job("a", generation_parameters=parameters), told=told)
        async with aclosing(generate_best(engine, job)) as steps:
            _ = [step async for step in steps]
        assert engine.jobs[-1].told == expected
