"""What every engine promises, tested on each: see `headrace.worker.engines.base.Engine`."""

import asyncio
import time
from contextlib import aclosing
from typing import Any

import pytest
from msgspec import structs

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationStarted, SequenceStarted, Usage
from headrace.worker.engines.base import Engine, EngineJob
from tests.contract.engines.conftest import MAX_MODEL_TOKENS, SLOTS
from tests.contract.engines.jobs import Answer, begin, make_job, read

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    # The first test with vLLM pays for its start.
    pytest.mark.timeout(180),
    # vLLM's own imports.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

LONG = 400


async def test_a_generation_starts_grows_and_ends_once(engine: Engine) -> None:
    answer = await read(engine, make_job("order", max_tokens=12))
    assert answer.text
    assert answer.finished[0].finish_reason == "length"
    assert answer.finished[0].stop_sequence is None
    assert answer.usage is not None
    assert answer.usage.output_tokens == 12
    assert answer.usage.input_tokens == answer.input_tokens > 0


async def test_max_tokens_none_takes_what_the_context_leaves(engine: Engine) -> None:
    answer = await read(engine, make_job("whole-context"))
    assert answer.usage is not None
    assert answer.usage.input_tokens + answer.usage.output_tokens == MAX_MODEL_TOKENS


async def test_every_sequence_is_complete_and_its_own(engine: Engine) -> None:
    answer = await read(engine, make_job("three", n=3, max_tokens=20, seed=5, temperature=1.0))
    assert sorted(answer.texts) == [0, 1, 2]
    assert len(set(answer.texts.values())) == 3
    assert {event.finish_reason for event in answer.finished.values()} == {"length"}
    assert answer.usage is not None
    assert answer.usage.output_tokens == 60


async def test_sequences_of_a_step_come_in_one_list(engine: Engine) -> None:
    answer = await read(engine, make_job("batch", n=3, max_tokens=20))
    assert any(len({getattr(event, "index", None) for event in step} - {None}) == 3 for step in answer.steps)


async def test_stop_text_ends_a_sequence_before_it(engine: Engine) -> None:
    parameters: dict[str, Any] = {"temperature": 0.0, "max_tokens": 40}
    whole = (await read(engine, make_job("free", **parameters))).text
    middle = len(whole) // 2
    # From inside one word to inside the next, so that it spans tokens.
    stop = whole[middle - 4 : middle + 4]
    answer = await read(engine, make_job("stopped", stop=("never said", stop), **parameters))
    assert answer.text == whole[: whole.index(stop)]
    assert answer.finished[0].finish_reason == "stop"
    assert answer.finished[0].stop_sequence == stop
    assert answer.usage is not None
    assert answer.usage.output_tokens < 40


async def test_a_seed_repeats_and_another_differs(engine: Engine) -> None:
    parameters: dict[str, Any] = {"max_tokens": 16, "temperature": 1.0}
    first = await read(engine, make_job("seed-a", seed=-1, **parameters))
    again = await read(engine, make_job("seed-b", seed=-1, **parameters))
    other = await read(engine, make_job("seed-c", seed=8, **parameters))
    assert first.text == again.text != other.text


async def test_token_ids_only_where_asked_for(engine: Engine) -> None:
    without = await read(engine, make_job("no-ids", max_tokens=10))
    assert without.token_ids == {0: []}
    answer = await read(engine, make_job("ids", max_tokens=10, token_ids=True))
    assert len(answer.token_ids[0]) == 10


async def test_an_answer_that_does_not_fit_is_refused_with_both_numbers(engine: Engine) -> None:
    with pytest.raises(HeadraceError) as caught:
        await read(engine, make_job("too-much", max_tokens=MAX_MODEL_TOKENS))
    assert caught.value.code is ErrorCode.CONTEXT_LENGTH_EXCEEDED
    assert caught.value.param == "generation_parameters.max_tokens"
    assert f"asks for {MAX_MODEL_TOKENS} more" in caught.value.message
    assert f"has {MAX_MODEL_TOKENS} tokens" in caught.value.message


async def test_a_prompt_that_does_not_fit_is_refused_without_repeating_it(engine: Engine) -> None:
    with pytest.raises(HeadraceError) as caught:
        await read(engine, make_job("too-long", text="secret " * MAX_MODEL_TOKENS))
    assert caught.value.code is ErrorCode.CONTEXT_LENGTH_EXCEEDED
    assert caught.value.param == "messages"
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("extensions", "code", "param"),
    [
        ({"elsewhere": {}}, ErrorCode.UNSUPPORTED_PARAMETER, "elsewhere"),
        ({"KIND": {"bogus": 1}}, ErrorCode.INVALID_REQUEST, "KIND.bogus"),
        ({"KIND": 3}, ErrorCode.INVALID_REQUEST, "KIND"),
    ],
)
async def test_a_wrong_extension_is_refused_by_name(
    engine: Engine, extensions: dict[str, Any], code: ErrorCode, param: str, request: pytest.FixtureRequest
) -> None:
    kind = request.node.callspec.params["engine"]
    named = {key.replace("KIND", kind): value for key, value in extensions.items()}
    with pytest.raises(HeadraceError) as caught:
        await read(engine, make_job("wrong", provider_extensions=named))
    assert caught.value.code is code
    assert caught.value.param == f"generation_parameters.provider_extensions.{param.replace('KIND', kind)}"


async def test_a_refused_job_does_not_harm_the_others(engine: Engine) -> None:
    steps = await begin(engine, make_job("good", max_tokens=60))
    with pytest.raises(HeadraceError):
        await read(engine, make_job("bad", provider_extensions={"elsewhere": 1}))
    with pytest.raises(HeadraceError):
        await read(engine, make_job("bad", max_tokens=MAX_MODEL_TOKENS))
    rest = [event async for step in steps for event in step]
    assert type(rest[-1]).__name__ == "GenerationFinished"


async def test_thirty_two_at_once(engine: Engine) -> None:
    answers = await asyncio.gather(*(read(engine, make_job(f"many-{i}", max_tokens=16)) for i in range(32)))
    assert [answer.usage.output_tokens for answer in answers if answer.usage] == [16] * 32


async def test_closing_a_job_frees_its_slot(engine: Engine) -> None:
    running = [await begin(engine, make_job(f"run-{i}", max_tokens=LONG)) for i in range(SLOTS)]
    waiting = engine.generate(make_job("waiting", max_tokens=2))
    assert isinstance((await anext(waiting))[0], GenerationStarted)
    first_token = asyncio.ensure_future(anext(waiting))  # noqa: TID251 - awaited below
    for _ in range(10):
        await anext(running[1])
    assert not first_token.done()
    await running[0].aclose()
    step = await first_token
    assert step[0] == SequenceStarted(0)
    for steps in [*running, waiting]:
        await steps.aclose()


async def test_a_job_that_is_cut_says_what_it_has_used(engine: Engine) -> None:
    used: list[Usage] = []
    job = structs.replace(make_job("cut", n=2, max_tokens=LONG, token_ids=True), on_cut=used.append)
    answer = Answer()
    async with aclosing(engine.generate(job)) as steps:
        async for step in steps:
            answer.add(step)
            if len(answer.steps) > 5:
                break
    (usage,) = used
    assert usage.input_tokens == answer.input_tokens
    assert usage.output_tokens >= sum(len(ids) for ids in answer.token_ids.values()) > 0


async def test_a_job_that_ends_says_so_in_its_end_only(engine: Engine) -> None:
    used: list[Usage] = []
    await read(engine, structs.replace(make_job("whole", max_tokens=3), on_cut=used.append))
    assert used == []


async def test_cancelling_the_reader_frees_its_slot(engine: Engine) -> None:
    reading = asyncio.Event()

    async def read_for_ever(name: str) -> None:
        async with aclosing(engine.generate(make_job(name, max_tokens=LONG))) as steps:
            async for step in steps:
                if isinstance(step[0], SequenceStarted):
                    reading.set()

    async with asyncio.TaskGroup() as tasks:
        readers: list[asyncio.Task[None]] = []
        for i in range(SLOTS):
            reading.clear()
            readers.append(tasks.create_task(read_for_ever(f"cancel-{i}")))
            await reading.wait()
        for reader in readers:
            reader.cancel()
    # Every slot is free again: as many jobs get to their first token while none ends.
    again = [await begin(engine, make_job(f"after-{i}", max_tokens=LONG)) for i in range(SLOTS)]
    for steps in again:
        await steps.aclose()


async def test_a_job_can_be_left_before_its_first_token(engine: Engine) -> None:
    for i in range(2 * SLOTS):
        steps = engine.generate(make_job(f"left-{i}", n=2, max_tokens=LONG))
        await anext(steps)
        await steps.aclose()
    assert (await read(engine, make_job("after", max_tokens=3))).text


async def test_higher_priority_gets_the_free_slot(engine: Engine) -> None:
    running = [await begin(engine, make_job(f"fill-{i}", max_tokens=LONG)) for i in range(SLOTS)]
    order: list[str] = []

    async def wait_for_token(name: str, priority: int) -> None:
        steps = await begin(engine, make_job(name, priority=priority, max_tokens=2))
        order.append(name)
        await steps.aclose()

    async with asyncio.TaskGroup() as tasks:
        low = engine.generate(make_job("probe", priority=0, max_tokens=2))
        await anext(low)
        tasks.create_task(wait_for_token("low", 1))
        tasks.create_task(wait_for_token("high", 9))
        # By the time that another job has been accepted and some steps have gone by, both wait inside.
        for _ in range(10):
            await anext(running[1])
        assert order == []
        await running[0].aclose()
    assert order == ["high", "low"]
    for steps in [*running, low]:
        await steps.aclose()


async def test_what_a_slow_reader_missed_is_one_delta(engine: Engine) -> None:
    slow = engine.generate(make_job("slow", max_tokens=40, token_ids=True))
    answer = Answer()
    answer.add(await anext(slow))
    await read(engine, make_job("quick", max_tokens=LONG))
    async for step in slow:
        answer.add(step)
    assert len(answer.steps) <= 4
    assert len(answer.token_ids[0]) == 40


async def test_the_batch_lane_waits_inside_whatever_its_priority(engine: Engine) -> None:
    running = [await begin(engine, make_job(f"full-{i}", max_tokens=LONG)) for i in range(SLOTS)]
    order: list[str] = []

    async def wait_for_token(name: str, job: EngineJob) -> None:
        steps = await begin(engine, job)
        order.append(name)
        await steps.aclose()

    async with asyncio.TaskGroup() as tasks:
        batch = structs.replace(make_job("batch-lane", priority=9, max_tokens=2), lane="batch")
        tasks.create_task(wait_for_token("batch", batch))
        tasks.create_task(wait_for_token("online", make_job("online-lane", priority=0, max_tokens=2)))
        for _ in range(10):
            await anext(running[1])
        assert order == []
        await running[0].aclose()
    assert order == ["online", "batch"]
    for steps in running[1:]:
        await steps.aclose()


async def test_the_load_follows_what_runs(engine: Engine) -> None:
    async with asyncio.timeout(30):
        # What earlier tests have left is taken out a moment later.
        while engine.load().kv_tokens_used or engine.load().waiting_tokens:
            await read(engine, make_job(f"sweep-{time.monotonic_ns()}", max_tokens=1))
    total = engine.load().kv_tokens_total
    assert total >= MAX_MODEL_TOKENS
    steps = await begin(engine, make_job("load", text="word " * 40, max_tokens=200))
    async with asyncio.timeout(30):
        while engine.load().kv_tokens_used < 40:
            await anext(steps)
    load = engine.load()
    assert (load.kv_tokens_total, load.waiting_tokens) == (total, 0)
    assert load.kv_tokens_used < total
    running = [await begin(engine, make_job(f"beside-{i}", max_tokens=LONG)) for i in range(SLOTS - 1)]
    waiting = engine.generate(make_job("waits", text="word " * 50, max_tokens=2))
    await anext(waiting)
    assert engine.load().waiting_tokens >= 50
    for open_steps in [waiting, steps, *running]:
        await open_steps.aclose()
    assert engine.load().waiting_tokens == 0


async def test_it_can_go_on_with_a_plain_job(engine: Engine) -> None:
    assert engine.can_continue(make_job("plain").request)
