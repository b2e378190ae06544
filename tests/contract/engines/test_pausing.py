"""A generation that is paused in mid-answer, and goes on later, says what it would have said undisturbed."""

import asyncio
from collections.abc import Sequence
from typing import Any

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
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
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
                if self._cuts and most >= self._cuts[0]:
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


@pytest.mark.engine
async def test_a_search_makes_way_only_while_nothing_was_told(vllm_engine: Engine) -> None:
    parameters: dict[str, Any] = {"temperature": 0.0, "beam_search": BeamSearchParams(width=2)}
    job = make("paused-beams", parameters)
    assert not vllm_engine.can_continue(job.request)
    whole = await run(vllm_engine, job)
    interrupter = Interrupter(vllm_engine, [1])
    paused = await interrupter.run(job)
    assert interrupter.pauses.begun == 1
    assert tokens_of(paused, 0) == tokens_of(whole, 0)


async def test_a_job_may_be_paused_before_its_first_token(engine: Engine) -> None:
    gate, pauses = EngineGate(1, patience_seconds=1000.0, hold_off_seconds=0.0), Pauses()
    events: list[Event] = []
    online = gate.arrive(lane="online", priority=5, may_pause=lambda: False)
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
