"""A metered generation is settled once, by what it used, on every path; and has one row, as its stream was."""

import asyncio
from pathlib import Path

import pytest
from msgspec import structs

from headrace.accounts.limits import CallerLimits, KeyLimits
from headrace.accounts.quota.base import Amount, LimitKind
from headrace.accounts.quota.refusal import QuotaRefusedError
from headrace.scheduler.base import Adoption, GenerationRecord, Submission
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFailed, GenerationStarted, Usage, is_terminal
from headrace.schema.last_word import LastWord
from headrace.schema.request import GenerationParameters
from headrace.transport.last_words import MemoryLastWords
from tests.support.metering import Meter
from tests.support.values import fresh_name, make_request
from tests.unit.accounts.test_ledger import folders_in
from tests.unit.gateway.doubles import HELLO, TIMINGS, USAGE, ScriptedSource

CALLER = Caller(tenant_id="t", key_id="k")
LIMITS = CallerLimits(
    key=KeyLimits(requests_per_minute=100, tokens_per_minute=1000, concurrent_generations=5),
    tenant=KeyLimits(tokens_per_month=2000, cost_per_month_micros=100_000),
)
USED = USAGE.input_tokens + USAGE.output_tokens
COST = 3 + 1 + 70


def make_submission(*, caller: Caller = CALLER, max_tokens: int = 50, count_only: bool = False) -> Submission:
    request = make_request("demo", parameters=GenerationParameters(max_tokens=max_tokens))
    if count_only:
        request = structs.replace(request, count_only=True)
    return Submission(request_id=fresh_name("gen"), request=request, caller=caller)


async def check_settled(meter: Meter, *, tokens: int = USED, cost: int = COST) -> None:
    key, tenant = await meter.store.look("t", "key:k"), await meter.store.look("t", "tenant:t")
    assert (key.running, tenant.running) == (0, 0)
    assert key.tokens == tokens
    assert tenant.month == Amount(tokens, cost)


async def test_a_generation_that_finishes(tmp_path: Path) -> None:
    async with Meter(ScriptedSource(*HELLO), tmp_path, limits=LIMITS).running() as meter:
        submission = make_submission()
        generation = await meter.source.submit(submission)
        limits = generation.rate_limits
        assert limits is not None
        assert (limits.limit_requests, limits.remaining_requests, limits.limit_tokens) == (100, 99, 1000)
        standing = await meter.store.look("t", "key:k")
        assert (standing.running, standing.tokens) == (1, 60)
        async for batch in generation:
            if is_terminal(batch[-1]):
                # Whoever has read the end finds the slot free.
                await check_settled(meter)
        await generation.aclose()
        await generation.aclose()
        await check_settled(meter)
        await meter.ledger.flush()
        assert meter.observer.settled == [("demo", USAGE)]
        row = meter.rows.rows[submission.request_id]
        assert row.usage == USAGE
        assert (row.tenant_id, row.key_id, row.model, row.target, row.outcome) == ("t", "k", "demo", "demo", "finished")
        assert row.cost_micros == COST
        assert row.queue_ms == TIMINGS.queue_seconds * 1000
        assert row.first_token_ms == TIMINGS.first_token_seconds * 1000


async def test_a_client_that_leaves(tmp_path: Path) -> None:
    source = ScriptedSource(HELLO[0], HELLO[1], asyncio.Event())
    async with Meter(source, tmp_path, limits=LIMITS).running() as meter:
        submission = make_submission()
        generation = await meter.source.submit(submission)
        await anext(generation)
        await anext(generation)
        await generation.aclose()
        await check_settled(meter)
        await meter.ledger.flush()
        row = meter.rows.rows[submission.request_id]
        assert (row.outcome, row.usage) == ("cancelled", USAGE)
        assert row.first_token_ms is not None
        assert source.generations[0].closed == 1


async def test_a_client_that_leaves_before_anything_came(tmp_path: Path) -> None:
    async with Meter(ScriptedSource(asyncio.Event()), tmp_path, limits=LIMITS).running() as meter:
        generation = await meter.source.submit(make_submission())
        await generation.aclose()
        await check_settled(meter)


async def test_a_generation_that_fails(tmp_path: Path) -> None:
    failed = GenerationFailed("worker_lost", "gone", "decode", retryable=True, usage=USAGE)
    async with Meter(ScriptedSource(HELLO[0], (failed,)), tmp_path, limits=LIMITS).running() as meter:
        submission = make_submission()
        generation = await meter.source.submit(submission)
        async for _ in generation:
            pass
        await generation.aclose()
        await check_settled(meter)
        await meter.ledger.flush()
        assert meter.rows.rows[submission.request_id].outcome == "worker_lost"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (HeadraceError(ErrorCode.ENGINE_DEAD, "dead"), "engine_dead"),
        (ValueError("a bug"), "internal_error"),
        (None, "stream_broken"),
    ],
)
async def test_a_source_that_breaks_its_word(tmp_path: Path, error: Exception | None, outcome: str) -> None:
    steps = (HELLO[0],) if error is None else (HELLO[0], error)
    async with Meter(ScriptedSource(*steps), tmp_path, limits=LIMITS).running() as meter:
        submission = make_submission()
        generation = await meter.source.submit(submission)
        await anext(generation)
        with pytest.raises((HeadraceError, ValueError, StopAsyncIteration)):
            await anext(generation)
        await generation.aclose()
        await check_settled(meter)
        await meter.ledger.flush()
        assert meter.rows.rows[submission.request_id].outcome == outcome


async def test_what_is_not_accepted_costs_nothing_and_has_no_row(tmp_path: Path) -> None:
    source = ScriptedSource(*HELLO)
    source.refusal = HeadraceError(ErrorCode.OVERLOADED, "full")
    async with Meter(source, tmp_path, limits=LIMITS).running() as meter:
        with pytest.raises(HeadraceError):
            await meter.source.submit(make_submission())
        await check_settled(meter, tokens=0, cost=0)
        # It was a request all the same.
        assert (await meter.store.look("t", "key:k")).requests == 1
        await meter.ledger.flush()
    assert meter.rows.rows == {}
    assert folders_in(tmp_path) == []


async def test_a_limit_refuses_before_anything_is_submitted(tmp_path: Path) -> None:
    source = ScriptedSource(asyncio.Event())
    limits = CallerLimits(key=KeyLimits(requests_per_minute=5, concurrent_generations=1))
    async with Meter(source, tmp_path, limits=limits).running() as meter:
        first = await meter.source.submit(make_submission())
        with pytest.raises(QuotaRefusedError) as caught:
            await meter.source.submit(make_submission())
        assert caught.value.code == ErrorCode.RATE_LIMITED
        assert caught.value.retry_after_seconds == 1.0
        assert caught.value.rate_limits.remaining_requests == 4
        assert meter.observer.refused == [LimitKind.CONCURRENT]
        assert len(source.submissions) == 1
        await first.aclose()
        await (await meter.source.submit(make_submission())).aclose()


async def test_a_budget_that_is_spent_and_a_request_that_is_too_large_are_told_apart(tmp_path: Path) -> None:
    limits = CallerLimits(tenant=KeyLimits(tokens_per_day=100))
    async with Meter(ScriptedSource(asyncio.Event()), tmp_path, limits=limits).running() as meter:
        with pytest.raises(QuotaRefusedError) as caught:
            await meter.source.submit(make_submission(max_tokens=100))
        assert (caught.value.code, caught.value.retry_after_seconds) == (ErrorCode.QUOTA_EXCEEDED, None)
        assert caught.value.param == "generation_parameters.max_tokens"
        first = await meter.source.submit(make_submission(max_tokens=60))
        with pytest.raises(QuotaRefusedError) as caught:
            await meter.source.submit(make_submission(max_tokens=60))
        assert caught.value.code == ErrorCode.QUOTA_EXCEEDED
        assert caught.value.retry_after_seconds is not None
        assert "tenant" in caught.value.message
        await first.aclose()


async def test_a_caller_without_an_account_passes(tmp_path: Path) -> None:
    source = ScriptedSource(*HELLO)
    async with Meter(source, tmp_path, limits=LIMITS).running() as meter:
        generation = await meter.source.submit(make_submission(caller=Caller()))
        assert generation is source.generations[0]
        await meter.ledger.flush()
    assert meter.rows.rows == {}


async def test_a_caller_without_an_account_may_have_rows(tmp_path: Path) -> None:
    async with Meter(ScriptedSource(*HELLO), tmp_path, limits=LIMITS, record_anonymous=True).running() as meter:
        submission = make_submission(caller=Caller())
        generation = await meter.source.submit(submission)
        assert generation.rate_limits is None
        async for _ in generation:
            pass
        await meter.ledger.flush()
    assert meter.rows.rows[submission.request_id].usage == USAGE


async def test_counting_tokens_is_a_request_and_costs_none(tmp_path: Path) -> None:
    async with Meter(ScriptedSource(*HELLO), tmp_path, limits=LIMITS).running() as meter:
        generation = await meter.source.submit(make_submission(count_only=True))
        async for _ in generation:
            pass
        await generation.aclose()
        await check_settled(meter, tokens=0, cost=0)
        assert (await meter.store.look("t", "key:k")).requests == 1
    assert meter.rows.rows == {}


async def test_budgets_begin_with_what_the_ledger_knows(tmp_path: Path) -> None:
    limits = CallerLimits(key=KeyLimits(tokens_per_month=100))
    async with Meter(ScriptedSource(*HELLO), tmp_path, limits=limits).running() as meter:
        for _ in range(4):
            async for _ in await meter.source.submit(make_submission(max_tokens=10)):
                pass
        await meter.ledger.flush()
    # A restart: the store is empty, the ledger is not.
    after = Meter(ScriptedSource(*HELLO), tmp_path, limits=limits, rows=meter.rows)
    async with after.running():
        with pytest.raises(QuotaRefusedError):
            await after.source.submit(make_submission(max_tokens=50))
        standing = await after.store.look("t", "key:k")
        assert standing.month == Amount(4 * USED, 4 * COST)


async def test_a_gateway_that_was_killed_is_settled_by_the_next(tmp_path: Path) -> None:
    dead = Meter(ScriptedSource(HELLO[0], asyncio.Event()), tmp_path, limits=LIMITS)
    await dead.ledger.start()
    submission = make_submission()
    generation = await dead.source.submit(submission)
    assert isinstance((await anext(generation))[0], GenerationStarted)
    dead.settling.see_running()
    await dead.journal.written()
    # Killed: nothing of it is settled, and the system lets go of its lock.
    await dead.ledger.close(seconds=0.0)
    assert (await dead.store.look("t", "key:k")).running == 1
    after = Meter(ScriptedSource(), tmp_path, limits=LIMITS, store=dead.store)
    async with after.running():
        await after.rows.until(lambda: submission.request_id in after.rows.rows)
        await check_settled(after)
        row = after.rows.rows[submission.request_id]
        assert (row.outcome, row.usage, row.cost_micros) == ("lost", USAGE, COST)


async def test_a_prompt_is_noted_as_soon_as_it_is_known(tmp_path: Path) -> None:
    dead = Meter(ScriptedSource(HELLO[0], asyncio.Event()), tmp_path, limits=LIMITS)
    await dead.ledger.start()
    submission = make_submission()
    await anext(await dead.source.submit(submission))
    await dead.journal.written()
    await dead.ledger.close(seconds=0.0)
    after = Meter(ScriptedSource(), tmp_path, limits=LIMITS, store=dead.store)
    async with after.running():
        await after.rows.until(lambda: submission.request_id in after.rows.rows)
        assert after.rows.rows[submission.request_id].input_tokens == USAGE.input_tokens


async def test_the_word_of_a_worker_is_what_is_charged(tmp_path: Path) -> None:
    dead = Meter(ScriptedSource(HELLO[0], asyncio.Event()), tmp_path, limits=LIMITS)
    await dead.ledger.start()
    submission = make_submission()
    await anext(await dead.source.submit(submission))
    await dead.journal.written()
    await dead.ledger.close(seconds=0.0)
    words = MemoryLastWords()
    await words.leave([LastWord(submission.request_id, 1, "worker", Usage(5, 40), 2.0, "demo")])
    after = Meter(ScriptedSource(), tmp_path, limits=LIMITS, store=dead.store, words=words)
    async with after.running():
        await after.rows.until(lambda: submission.request_id in after.rows.rows)
        # Of the tokens of the cache it says nothing, and the journal does.
        row = after.rows.rows[submission.request_id]
        assert (row.outcome, row.usage) == ("lost", Usage(5, 40, USAGE.cached_tokens))
        await check_settled(after, tokens=45, cost=3 + 1 + 400)


async def test_what_another_gateway_goes_on_with_is_settled_by_that_one_and_once(tmp_path: Path) -> None:
    after = Meter(ScriptedSource(*HELLO), tmp_path, limits=LIMITS)
    async with after.running():
        dead = Meter(ScriptedSource(HELLO[0], asyncio.Event()), tmp_path, limits=LIMITS, store=after.store)
        await dead.ledger.start()
        submission = make_submission()
        await anext(await dead.source.submit(submission))
        dead.settling.see_running()
        await dead.journal.written()
        await dead.ledger.close(seconds=0.0)
        record = GenerationRecord(target="demo")
        adoption = Adoption(submission=submission, submitted_at=1000.0, deadline=2000.0, record=record)
        generation = await after.source.adopt(adoption)
        # The lease is the new one's: what the journal of the dead one leaves settles nothing.
        await after.ledger.sweep()
        assert after.rows.rows[submission.request_id].outcome == "lost"
        assert (await after.store.look("t", "key:k")).running == 1
        async for _ in generation:
            pass
        await generation.aclose()
        await check_settled(after)
        await after.ledger.flush()
        (row,) = after.rows.rows.values()
        assert (row.outcome, row.usage, row.cost_micros, row.started_at) == ("finished", USAGE, COST, 1_000_000)


async def test_what_nobody_can_go_on_with_has_the_row_that_its_gateway_left(tmp_path: Path) -> None:
    source = ScriptedSource()
    source.refusal = HeadraceError(ErrorCode.PROVIDER_UNAVAILABLE, "gone")
    async with Meter(source, tmp_path, limits=LIMITS).running() as meter:
        with pytest.raises(HeadraceError):
            await meter.source.adopt(Adoption(submission=make_submission(), submitted_at=1.0, deadline=2.0))
        await meter.ledger.flush()
        assert meter.rows.rows == {}
        assert (await meter.store.look("t", "key:k")).running == 0


async def test_a_reader_that_is_cancelled_settles_all_the_same(tmp_path: Path) -> None:
    async with Meter(ScriptedSource(HELLO[0], asyncio.Event()), tmp_path, limits=LIMITS).running() as meter:
        generation = await meter.source.submit(make_submission())

        async def read() -> None:
            try:
                async for _ in generation:
                    pass
            finally:
                await asyncio.shield(generation.aclose())

        async with asyncio.TaskGroup() as group:
            reader = group.create_task(read())
            for _ in range(10):
                await asyncio.sleep(0)
            reader.cancel()
        await check_settled(meter)
