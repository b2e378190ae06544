"""A generation that is paused in mid-answer, and goes on later, says what it would have said undisturbed."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import pytest
from msgspec import structs

from headrace.schema.events import Event, GenerationFinished, GenerationStarted, SequenceStarted
from headrace.schema.request import BeamSearchParams
from headrace.worker.engines.base import Engine, EngineJob
from headrace.worker.gate import EngineGate
from headrace.worker.turns import run_in_turns
from tests.contract.engines.jobs import make_job
from tests.contract.engines.test_continuing import CASES, LENGTH, SCHEMA, make, run, text_of, tokens_of

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore::FutureWarning",
        "ignore::PendingDeprecationWarning",
        "ignore::ResourceWarning",
    ),
]


class Pauses:
    """A `TurnListener` that counts."""

    def __init__(self) -> None:
        self.begun = 0
        self.waits = 0

    def begin(self) -> None:
        self.begun += 1

    def wait(self) -> None:
        self.waits += 1


class Interrupter:
    """Runs a batch job on an engine with one place, and an online one whenever it has come so far."""

    def __init__(self, engine: Engine, cuts: Sequence[int]) -> None:
        self._engine = engine
        self._gate = EngineGate(1, patience_seconds=1000.0, hold_off_seconds=0.0)
        self._cuts = list(cuts)
        self.events: list[Event] = []
        self.pauses = Pauses()

    async def run(self, job: EngineJob) -> list[Event]:
        async with asyncio.TaskGroup() as group:

            def tell(events: list[Event]) -> None:
                self.events += events
                most = max((len(tokens_of(self.events, event.index)) for event in _started(self.events)), default=0)
                # What is held still tells its step under way, which is no time to hold it again.
                runs = self.pauses.begun > self.pauses.waits
                if self._cuts and most >= self._cuts[0] and runs:
                    self._cuts.pop(0)
                    group.create_task(self._interrupt(f"{job.request_id}-i{len(self._cuts)}"))

            batch = structs.replace(job, lane="batch")
            await run_in_turns(self._engine, self._gate, batch, tell=tell, listener=self.pauses)
        return self.events

    async def _interrupt(self, name: str) -> None:
        quick = make_job(name, max_tokens=3, temperature=0.0)
        await run_in_turns(self._engine, self._gate, quick, tell=lambda _: None, listener=Pauses())


def _started(events: Sequence[Event]) -> list[SequenceStarted]:
    return [event for event in events if isinstance(event, SequenceStarted)]


async def check(engine: Engine, job: EngineJob, *, cuts: Sequence[int]) -> None:
    whole = await run(engine, job)
    interrupter = Interrupter(engine, cuts)
    paused = await interrupter.run(job)
    assert interrupter.pauses.begun == 1 + len(cuts)
    for index in range(job.request.generation_parameters.n):
        assert tokens_of(paused, index) == tokens_of(whole, index)
        assert text_of(paused, index) == text_of(whole, index)
    kinds = [type(event) for event in paused]
    assert kinds.count(GenerationStarted) == kinds.count(GenerationFinished) == 1
    last, wanted = paused[-1], whole[-1]
    assert isinstance(last, GenerationFinished)
    assert isinstance(wanted, GenerationFinished)
    assert last.usage.output_tokens == wanted.usage.output_tokens
    assert last.usage.input_tokens == wanted.usage.input_tokens
    assert last.usage.reasoning_tokens == wanted.usage.reasoning_tokens


@pytest.mark.parametrize("name", ["greedy", "penalties", "several"])
async def test_nothing_is_told_twice_and_nothing_else(engine: Engine, name: str) -> None:
    await check(engine, make(f"paused-{name}", CASES[name]), cuts=[1, LENGTH // 2, LENGTH // 2 + 3])


@pytest.mark.engine
async def test_a_grammar_is_kept(vllm_engine: Engine) -> None:
    job = make("paused-schema", {"seed": 3, "temperature": 1.0, "ignore_eos": False}, response_format=SCHEMA)
    await check(vllm_engine, job, cuts=[3, 8])


async def test_a_search_is_held_where_it_stands(engine: Engine) -> None:
    job = make("held-beams", {"beam_search": BeamSearchParams(width=3), "n": 2})
    assert not engine.can_continue(job.request)
    await check(engine, job, cuts=[1, LENGTH // 4, LENGTH // 2])


@pytest.mark.engine
async def test_a_search_under_a_grammar_is_held_where_it_stands(vllm_engine: Engine) -> None:
    parameters = {"beam_search": BeamSearchParams(width=3), "ignore_eos": False}
    await check(vllm_engine, make("held-schema", parameters, response_format=SCHEMA), cuts=[1, 5])


async def hold(engine: Engine, name: str) -> tuple[EngineJob, AsyncGenerator[list[Event], None], list[Event]]:
    """Return a search that is held in mid-answer, with what was told of it."""
    parameters = {"beam_search": BeamSearchParams(width=3), "max_tokens": 200}
    job = structs.replace(make(name, parameters), lane="batch")
    steps = engine.generate(job)
    told: list[Event] = []
    while not tokens_of(told, 0):
        told += await anext(steps)
    job.suspension.begin()
    return job, steps, told


async def test_what_is_held_leaves_the_engine_to_others(engine: Engine) -> None:
    job, steps, told = await hold(engine, "left-whole")
    job.suspension.end()
    whole = [*told, *[event async for events in steps for event in events]]
    job, steps, told = await hold(engine, "left-alone")
    others = [make_job(f"other-{n}", max_tokens=20, temperature=0.0) for n in range(2 * engine.slots)]
    reading = asyncio.ensure_future(anext(steps))  # noqa: TID251 - awaited below
    for _ in range(2):
        await asyncio.gather(*(run(engine, other) for other in others))
    if reading.done():
        # Its step under way.
        told += reading.result()
        reading = asyncio.ensure_future(anext(steps))  # noqa: TID251 - awaited below
        await asyncio.gather(*(run(engine, other) for other in others))
    assert not reading.done()
    async with asyncio.timeout(20):
        while engine.load().kv_tokens_used:  # noqa: ASYNC110 - the engine tells its load, and no change of it
            await asyncio.sleep(0.05)
    job.suspension.end()
    told += await reading
    async for events in steps:
        told += events
    assert tokens_of(told, 0) == tokens_of(whole, 0)


async def test_what_is_held_can_be_left(engine: Engine) -> None:
    _, steps, _ = await hold(engine, "held-and-left")
    await steps.aclose()
    assert tokens_of(await run(engine, make_job("after-it", max_tokens=3, token_ids=True)), 0)


async def test_a_job_that_is_held_before_it_begins_waits(engine: Engine) -> None:
    job = make("held-first", {"beam_search": BeamSearchParams(width=2)})
    job.suspension.begin()
    async with aclosing(engine.generate(job)) as steps:
        assert isinstance((await anext(steps))[0], GenerationStarted)
        reading = asyncio.ensure_future(anext(steps))  # noqa: TID251 - awaited below
        await run(engine, make_job("meanwhile", max_tokens=5))
        assert not reading.done()
        job.suspension.end()
        assert await reading


async def test_a_search_goes_on_however_many_online_requests_begin(engine: Engine) -> None:
    job = make("search-beside", {"beam_search": BeamSearchParams(width=2), "max_tokens": 15})
    whole = await run(engine, job)
    ended = asyncio.Event()

    async def ask_on(name: str) -> None:
        number = 0
        while not ended.is_set():
            number += 1
            await run(engine, make_job(f"{name}-{number}", max_tokens=1, temperature=0.0))

    async with asyncio.TaskGroup() as group:
        for name in ("left", "right"):
            group.create_task(ask_on(name))
        beside = await run(engine, structs.replace(job, lane="batch"))
        ended.set()
    assert tokens_of(beside, 0) == tokens_of(whole, 0)


async def check_online_in_between(engine: Engine, job: EngineJob, online: EngineJob, *, after: int = 1) -> None:
    """Fill the engine with one batch job, and check that an online one passes and the other does not notice.

    Args:
        engine: where.
        job: it fills the engine once each of its sequences has so many tokens.
        online: the other one.
        after: so many tokens.
    """
    whole = await run(engine, job)
    paused: list[Event] = []
    steps = engine.generate(structs.replace(job, lane="batch"))
    while min(len(tokens_of(paused, n)) for n in range(job.request.generation_parameters.n)) < after:
        paused += await anext(steps)
    answer = await run(engine, online)
    assert isinstance(answer[-1], GenerationFinished)
    paused += await anext(steps)
    assert not isinstance(paused[-1], GenerationFinished)
    async for events in steps:
        paused += events
    for index in range(job.request.generation_parameters.n):
        assert tokens_of(paused, index) == tokens_of(whole, index)
        assert text_of(paused, index) == text_of(whole, index)


@pytest.mark.engine
async def test_one_job_with_as_many_sequences_as_slots_makes_way(vllm_engine: Engine) -> None:
    job = make("wide", {"seed": 7, "n": vllm_engine.slots, "max_tokens": 300})
    await check_online_in_between(vllm_engine, job, make_job("narrow", max_tokens=5, temperature=0.0))


@pytest.mark.engine
async def test_one_job_that_fills_the_cache_makes_way(small_engine: Engine) -> None:
    job = make("long", {"temperature": 0.0, "max_tokens": 400})
    large = make("large", {"temperature": 0.0, "max_tokens": 3}, prompts=(tuple(range(5, 355)),))
    await check_online_in_between(small_engine, job, large, after=200)


async def test_a_job_may_be_paused_before_its_first_token(engine: Engine) -> None:
    gate, pauses = EngineGate(1, patience_seconds=1000.0, hold_off_seconds=0.0), Pauses()
    events: list[Event] = []
    online = gate.arrive(lane="online", priority=5)
    async with asyncio.TaskGroup() as group:

        async def come_and_go() -> None:
            await online.enter()
            online.close()

        def tell(new: list[Event]) -> None:
            events.extend(new)
            if isinstance(new[0], GenerationStarted):
                group.create_task(come_and_go())

        job = structs.replace(make_job("paused-early", max_tokens=5), lane="batch")
        await run_in_turns(engine, gate, job, tell=tell, listener=pauses)
    assert isinstance(events[-1], GenerationFinished)
    assert [type(event) for event in events].count(GenerationStarted) == 1
    assert pauses.begun == 2
    assert events[-1].usage.output_tokens == 5


@pytest.mark.engine
# With drafts, what a seed gives depends on what was drafted in each step.
@pytest.mark.parametrize("name", ["greedy", "several greedy"])
async def test_an_engine_that_can_not_replay_takes_back_what_it_runs(drafting_engine: Engine, name: str) -> None:
    job = make(f"unreplayable-{name}".replace(" ", "-"), {**CASES[name], "max_tokens": 200})
    assert not drafting_engine.can_continue(job.request)
    await check(drafting_engine, job, cuts=[1, LENGTH, 2 * LENGTH])


@pytest.mark.engine
async def test_an_engine_that_can_not_replay_keeps_a_grammar(drafting_engine: Engine) -> None:
    job = make("unreplayable-schema", {"temperature": 0.0, "ignore_eos": False}, response_format=SCHEMA)
    # Its answer is short: a second pause may come after its end.
    await check(drafting_engine, job, cuts=[3])


@pytest.mark.engine
async def test_an_engine_that_can_not_replay_has_an_online_request_pass(drafting_engine: Engine) -> None:
    job = make("unreplayable-long", {"temperature": 0.0, "max_tokens": 300})
    await check_online_in_between(drafting_engine, job, make_job("quick", max_tokens=5, temperature=0.0))
