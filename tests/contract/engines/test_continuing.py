"""A job that was told in part goes on, and its reader sees no seam.

What an earlier attempt told is cut out of an undisturbed run, so the rest of that run is what must come.
"""

from collections.abc import Sequence
from contextlib import aclosing
from typing import Any

import pytest
from msgspec import structs

from headrace.scheduler.mailbox import Mailbox
from headrace.schema.control import ToldSequence
from headrace.schema.events import Event, GenerationFinished, SequenceDelta, StreamChunk
from headrace.schema.formats import JsonSchemaFormat
from headrace.schema.request import GenerationParameters, OutputFlags
from headrace.worker.engines.base import Engine, EngineJob
from tests.contract.engines.jobs import make_whole_job

pytestmark = [
    # The engine lives on the loop of the whole session.
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
    # vLLM's own imports, also in the process that it forks.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

LENGTH = 40
SCHEMA = JsonSchemaFormat(
    schema={
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
)
CASES: dict[str, dict[str, Any]] = {
    "greedy": {"temperature": 0.0},
    "seeded": {"seed": 7},
    "penalties": {"seed": 7, "presence_penalty": 0.5, "frequency_penalty": 0.5, "repetition_penalty": 1.2},
    "narrow": {"seed": 7, "top_k": 5, "top_p": 0.8},
    "several": {"seed": 7, "n": 3},
    "several greedy": {"temperature": 0.0, "n": 2},
}


async def run(engine: Engine, job: EngineJob) -> list[Event]:
    async with aclosing(engine.generate(job)) as steps:
        return [event async for step in steps for event in step]


def make(name: str, parameters: dict[str, Any], **fields: Any) -> EngineJob:
    parameters = {"max_tokens": LENGTH, "ignore_eos": True, **parameters}
    output = OutputFlags(token_ids=True, **fields.pop("output", {}))
    return make_whole_job(name, generation_parameters=GenerationParameters(**parameters), output=output, **fields)


def tokens_of(events: Sequence[Event], index: int) -> list[int]:
    deltas = [event for event in events if isinstance(event, SequenceDelta) and event.index == index]
    return [token for delta in deltas for token in delta.token_ids or ()]


def cut_at(events: Sequence[Event], tokens: int) -> list[Event]:
    """The beginning of a stream, up to the delta in which a sequence comes to so many tokens."""
    told: list[Event] = []
    for event in events:
        told.append(event)
        if isinstance(event, SequenceDelta) and len(tokens_of(told, event.index)) >= tokens:
            return told
    return told


async def told_through_mailbox(before: Sequence[Event], after: Sequence[Event]) -> list[Event]:
    """What a reader gets of two attempts."""
    mailbox = Mailbox("r", model="m", shows_token_ids=True)
    mailbox.accept(StreamChunk("r", 1, 0, tuple(before)))
    mailbox.begin_attempt("another")
    mailbox.accept(StreamChunk("r", 2, 0, tuple(after)))
    events: list[Event] = []
    while batch := await mailbox.receive():
        events += batch
    return events


def told_in(events: Sequence[Event]) -> tuple[ToldSequence, ...]:
    indexes = sorted({event.index for event in events if isinstance(event, SequenceDelta)})
    return tuple(ToldSequence(index, tuple(tokens_of(events, index))) for index in indexes)


def text_of(events: Sequence[Event], index: int) -> str:
    return "".join(event.text for event in events if isinstance(event, SequenceDelta) and event.index == index)


async def check(engine: Engine, job: EngineJob, *, cut: int) -> None:
    whole = await run(engine, job)
    before = cut_at(whole, cut)
    assert told_in(before)
    after = await run(engine, structs.replace(job, request_id=f"{job.request_id}-2", told=told_in(before)))
    read = await told_through_mailbox(before, after)
    for index in range(job.request.generation_parameters.n):
        assert tokens_of(read, index) == tokens_of(whole, index)
        assert text_of(read, index) == text_of(whole, index)
    assert isinstance(read[-1], GenerationFinished)
    assert isinstance(whole[-1], GenerationFinished)
    assert read[-1].usage.output_tokens == whole[-1].usage.output_tokens
    assert read[-1].usage.input_tokens == whole[-1].usage.input_tokens


@pytest.mark.parametrize("cut", [1, LENGTH // 3, LENGTH // 2, LENGTH - 3])
@pytest.mark.parametrize("name", CASES)
async def test_the_rest_is_what_it_would_have_been(engine: Engine, name: str, cut: int) -> None:
    await check(engine, make(f"{name}-{cut}".replace(" ", "-"), CASES[name]), cut=cut)


@pytest.mark.engine
@pytest.mark.parametrize("cut", [1, 5, 9])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
async def test_a_grammar_goes_on_in_its_place(vllm_engine: Engine, cut: int, temperature: float) -> None:
    parameters = {"seed": 3, "temperature": temperature, "ignore_eos": False}
    await check(vllm_engine, make(f"schema-{cut}-{temperature}", parameters, response_format=SCHEMA), cut=cut)


@pytest.mark.parametrize("seed", range(4))
async def test_an_answer_without_a_seed_goes_on(engine: Engine, seed: int) -> None:
    job = make(f"free-{seed}", {})
    whole = await run(engine, job)
    before = cut_at(whole, LENGTH - 10 + seed)
    after = await run(engine, structs.replace(job, request_id=f"{job.request_id}-2", told=told_in(before)))
    read = await told_through_mailbox(before, after)
    (told,) = told_in(before)
    assert tuple(tokens_of(read, 0)[: len(told.token_ids)]) == told.token_ids
    assert len(tokens_of(read, 0)) == LENGTH
    assert text_of(read, 0).startswith(text_of(before, 0))


async def test_a_stop_text_across_the_seam_is_found(engine: Engine) -> None:
    whole = await run(engine, make("stop-whole", {"seed": 7}))
    text = text_of(whole, 0)
    stop = text[len(text) // 2 - 3 : len(text) // 2 + 3]
    job = make("stop", {"seed": 7, "stop": (stop,)})
    undisturbed = await run(engine, job)
    for cut in range(1, len(tokens_of(undisturbed, 0)), 3):
        before = cut_at(undisturbed, cut)
        if not told_in(before) or isinstance(before[-1], GenerationFinished):
            continue
        after = await run(engine, structs.replace(job, request_id=f"stop-{cut}", told=told_in(before)))
        read = await told_through_mailbox(before, after)
        assert text_of(read, 0) == text_of(undisturbed, 0)


async def test_sequences_that_have_ended_are_not_run_again(engine: Engine) -> None:
    job = make("ended", {"seed": 7, "n": 2})
    whole = await run(engine, job)
    told = (
        ToldSequence(0, tuple(tokens_of(whole, 0)), is_finished=True),
        ToldSequence(1, tuple(tokens_of(whole, 1)[:9])),
    )
    after = await run(engine, structs.replace(job, request_id="ended-2", told=told))
    assert tokens_of(after, 1) == tokens_of(whole, 1)
    assert isinstance(after[-1], GenerationFinished)
    assert after[-1].usage.output_tokens == 2 * LENGTH


async def test_a_job_of_which_only_the_end_was_lost_ends(engine: Engine) -> None:
    job = make("over", {"seed": 7})
    whole = await run(engine, job)
    told = (ToldSequence(0, tuple(tokens_of(whole, 0)), is_finished=True),)
    after = await run(engine, structs.replace(job, request_id="over-2", told=told))
    assert isinstance(after[-1], GenerationFinished)
    assert after[-1].usage.output_tokens == LENGTH
