import asyncio
from typing import Any

import pytest

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFinished, SequenceDelta, SequenceFinished
from headrace.worker.engines.base import EngineDeadError
from headrace.worker.engines.scripted import Answer, Rule, Script, ScriptedEngine
from tests.contract.engines.jobs import Answer as Read
from tests.contract.engines.jobs import begin, make_job, read


def make_engine(*rules: Rule, slots: int = 4, step_seconds: float = 0.0) -> ScriptedEngine:
    return ScriptedEngine(Script(step_seconds=step_seconds, rules=rules), slots=slots, max_model_tokens=10_000)


async def read_until_error(engine: ScriptedEngine, name: str, **parameters: Any) -> tuple[Read, Exception]:
    answer = Read()
    try:
        async for step in engine.generate(make_job(name, **parameters)):
            answer.add(step)
    except (HeadraceError, EngineDeadError) as error:
        return answer, error
    raise AssertionError("it did not fail")


async def test_the_script_is_said_word_for_word() -> None:
    answer = await read(make_engine(Rule(text="Well, well:  a deep\n one. ")), make_job("a"))
    assert answer.text == "Well, well:  a deep\n one. "
    assert answer.finished[0].finish_reason == "stop"


async def test_an_empty_text_still_starts_and_finishes() -> None:
    answer = await read(make_engine(Rule(text="")), make_job("a"))
    assert answer.texts == {0: ""}
    assert answer.usage is not None
    assert answer.usage.output_tokens == 0


async def test_a_request_brings_fields_of_its_own_rule() -> None:
    engine = make_engine(Rule(text="from the script", fault="error"))
    extension = {"scripted": {"tokens": 3, "fault": None}}
    answer = await read(engine, make_job("a", provider_extensions=extension))
    assert answer.usage is not None
    assert answer.usage.output_tokens == 3


async def test_an_error_comes_after_its_tokens_and_leaves_the_others() -> None:
    engine = make_engine(Rule(when="fail", text="one two three four", fault="error", fault_after_tokens=2), Rule())
    other = asyncio.ensure_future(read(engine, make_job("other")))  # noqa: TID251 - awaited below
    answer, error = await read_until_error(engine, "failing", text="please fail")
    assert answer.text == "one two"
    assert isinstance(error, HeadraceError)
    assert error.code is ErrorCode.ENGINE_ERROR
    assert (await other).text


async def test_a_fault_before_the_first_token() -> None:
    answer, error = await read_until_error(make_engine(Rule(text="never", fault="error")), "a")
    assert answer.texts == {}
    assert isinstance(error, HeadraceError)


async def test_a_fault_after_the_last_token_keeps_the_generation_from_finishing() -> None:
    answer, _ = await read_until_error(make_engine(Rule(text="all of it", fault="error", fault_after_tokens=99)), "a")
    assert answer.text == "all of it"
    assert answer.usage is None


async def test_death_ends_every_job_and_the_engine() -> None:
    engine = make_engine(Rule(when="die", fault="dead", fault_after_tokens=3), Rule(tokens=9_000), slots=2)
    running = await begin(engine, make_job("running"))
    held_job = make_job("held")
    held = await begin(engine, held_job)
    held_job.suspension.begin()
    waiting = [engine.generate(make_job(f"waiting-{i}")) for i in range(2)]
    await anext(waiting[0])
    death = asyncio.ensure_future(engine.wait_dead())  # noqa: TID251 - awaited below
    _, error = await read_until_error(engine, "killer", text="die", priority=9)
    assert isinstance(error, EngineDeadError)
    await death
    for steps in (running, held, waiting[0], waiting[1]):
        with pytest.raises(EngineDeadError):
            _ = [step async for step in steps]


async def test_a_hanging_job_keeps_its_slot_until_it_is_left() -> None:
    engine = make_engine(Rule(when="hang", text="one two three", fault="hang", fault_after_tokens=1), Rule(), slots=1)
    hanging = await begin(engine, make_job("hanging", text="hang"))
    next_token = asyncio.ensure_future(anext(hanging))  # noqa: TID251 - cancelled below
    after = asyncio.ensure_future(read(engine, make_job("after")))  # noqa: TID251 - awaited below
    done, _ = await asyncio.wait([next_token, after], timeout=0.05)
    assert not done
    next_token.cancel()
    assert (await after).text


async def test_closing_ends_what_runs_and_what_comes_but_is_no_death() -> None:
    engine = make_engine(Rule(tokens=9_000))
    running = await begin(engine, make_job("running"))
    death = asyncio.ensure_future(engine.wait_dead())  # noqa: TID251 - cancelled below
    await engine.close()
    await engine.close()
    with pytest.raises(EngineDeadError):
        _ = [step async for step in running]
    with pytest.raises(EngineDeadError):
        await read(engine, make_job("late"))
    assert not death.done()
    death.cancel()


async def test_jobs_of_a_step_are_woken_in_one_turn_of_the_loop() -> None:
    engine = make_engine(Rule(tokens=50), slots=8, step_seconds=0.002)
    turns: dict[int, set[str]] = {}
    turn = 0

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        ticker[0] = asyncio.get_running_loop().call_soon(count_turns)

    ticker: list[asyncio.Handle] = [asyncio.get_running_loop().call_soon(count_turns)]

    async def note(name: str) -> None:
        async for step in engine.generate(make_job(name)):
            if isinstance(step[0], SequenceDelta) and not isinstance(step[-1], GenerationFinished):
                turns.setdefault(turn, set()).add(name)

    await asyncio.gather(*(note(f"job-{i}") for i in range(8)))
    ticker[0].cancel()
    assert {len(names) for names in turns.values()} == {8}


async def test_pace_follows_the_script() -> None:
    loop = asyncio.get_running_loop()
    engine = make_engine(Rule(tokens=20, first_token_seconds=0.05), step_seconds=0.005)
    began = loop.time()
    await begin(engine, make_job("first"))
    assert loop.time() - began >= 0.049
    began = loop.time()
    await read(engine, make_job("whole"))
    assert loop.time() - began >= 0.05 + 19 * 0.005 - 0.002


async def test_a_rule_may_be_slower_than_the_engine() -> None:
    loop = asyncio.get_running_loop()
    engine = make_engine(Rule(when="slow", tokens=5, step_seconds=0.02), Rule(tokens=2), step_seconds=0.001)
    slow = asyncio.ensure_future(read(engine, make_job("slow", text="slow")))  # noqa: TID251 - awaited below
    began = loop.time()
    await read(engine, make_job("quick"))
    assert not slow.done()
    await slow
    assert loop.time() - began >= 0.078


async def test_a_stop_text_is_reported() -> None:
    engine = make_engine(Rule(text="first second third"))
    answer = await read(engine, make_job("a", stop=("d thi",)))
    assert answer.text == "first secon"
    assert answer.finished[0] == SequenceFinished(0, "stop", "d thi")


def test_an_answer_takes_the_fields_of_a_rule_but_not_its_condition() -> None:
    assert set(Rule.__struct_fields__) - set(Answer.__struct_fields__) == {"when"}
