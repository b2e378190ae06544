"""Workers that die under a metered generation: it has one row, and is charged what the stream told."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from headrace.accounts.limits import CallerLimits, KeyLimits
from headrace.accounts.quota.base import Amount
from headrace.scheduler.base import Submission
from headrace.schema.caller import Caller
from headrace.schema.events import Event, GenerationFailed, GenerationFinished, GenerationStarted, SequenceDelta
from headrace.schema.request import GenerationParameters
from headrace.schema.settings import BrokerSettings, PriceSettings
from tests.contract.transport.harness import Harness, MemoryHarness, RabbitmqHarness
from tests.integration.path.rig import Rig, read, read_until_text, running_rig
from tests.support.metering import Meter
from tests.support.values import fresh_name, make_request

CALLER = Caller(tenant_id="t", key_id="k")
LIMITS = CallerLimits(key=KeyLimits(tokens_per_month=100_000, cost_per_month_micros=10_000_000))
TOKENS = 400


class MeteredRig:
    """A rig whose generations are metered."""

    def __init__(self, rig: Rig, meter: Meter) -> None:
        self.rig = rig
        self.meter = meter

    def submission(self, **scripted: Any) -> Submission:
        parameters = GenerationParameters(max_tokens=2 * TOKENS, provider_extensions={"scripted": scripted})
        request = make_request(self.rig.model, "one two three", parameters)
        return Submission(request_id=fresh_name("gen"), request=request, timeout_seconds=60.0, caller=CALLER)

    async def check_settled(self, events: Sequence[Event], outcome: str, *, attempts: int, output_tokens: int) -> None:
        """One row, with the tokens that the stream told, and the same in the quota."""
        await self.meter.ledger.flush()
        (row,) = self.meter.rows.rows.values()
        assert (row.outcome, row.attempts, row.route) == (outcome, attempts, "own")
        (started,) = [event for event in events if isinstance(event, GenerationStarted)]
        assert row.input_tokens == started.input_tokens > 0
        assert row.output_tokens == output_tokens == count_told(events)
        assert row.cost_micros == row.input_tokens + 10 * row.output_tokens
        standing = await self.meter.store.look("t", "key:k")
        assert standing.month == Amount(row.input_tokens + row.output_tokens, row.cost_micros)
        assert standing.running == 0


def count_told(events: Sequence[Event]) -> int:
    return sum(len(event.text.split()) for event in events if isinstance(event, SequenceDelta))


@pytest.fixture(params=["memory", pytest.param("rabbitmq", marks=pytest.mark.services)])
async def metered(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[MeteredRig]:
    if request.param == "memory":
        harness: Harness = MemoryHarness()
    else:
        settings: BrokerSettings = request.getfixturevalue("broker_settings")
        harness = RabbitmqHarness(settings)
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(running_rig(harness))
        meter = Meter(rig.scheduler, tmp_path, limits=LIMITS)
        meter.prices.replace({rig.model: PriceSettings(input=1.0, output=10.0)})
        await stack.enter_async_context(meter.running())
        yield MeteredRig(rig, meter)


async def test_a_generation_that_another_worker_goes_on_with_is_charged_once(metered: MeteredRig) -> None:
    first = await metered.rig.start_worker()
    generation = await metered.meter.source.submit(metered.submission(tokens=TOKENS))
    events = await read_until_text(generation)
    await metered.rig.start_worker()
    await first.crash()
    events += await read(generation)
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].usage.output_tokens == TOKENS
    await metered.check_settled(events, "finished", attempts=2, output_tokens=TOKENS)


async def test_a_generation_that_kills_worker_after_worker_is_charged_what_it_told(metered: MeteredRig) -> None:
    generation = await metered.meter.source.submit(
        metered.submission(tokens=TOKENS, fault="dead", fault_after_tokens=7)
    )

    async def run_workers() -> None:
        for _ in range(3):
            worker = await metered.rig.start_worker()
            await worker.wait_ended()
        # Somebody has to ask whether it is to be tried again.
        await metered.rig.start_worker()

    async with asyncio.TaskGroup() as group:
        group.create_task(run_workers())
        events = await read(generation)
    assert isinstance(events[-1], GenerationFailed)
    assert events[-1].code == "worker_lost"
    await metered.check_settled(events, "worker_lost", attempts=3, output_tokens=7)


async def test_a_generation_that_fails_on_its_worker_is_charged_what_was_made(metered: MeteredRig) -> None:
    await metered.rig.start_worker()
    generation = await metered.meter.source.submit(
        metered.submission(tokens=TOKENS, fault="error", fault_after_tokens=30)
    )
    events = await read(generation)
    assert isinstance(events[-1], GenerationFailed)
    await metered.check_settled(events, "engine_error", attempts=1, output_tokens=30)


async def test_candidates_that_were_never_told_are_charged(metered: MeteredRig) -> None:
    await metered.rig.start_worker()
    submission = metered.submission(tokens=TOKENS, fault="error", fault_after_tokens=30)
    parameters = structs.replace(submission.request.generation_parameters, best_of=3)
    request = structs.replace(submission.request, generation_parameters=parameters)
    generation = await metered.meter.source.submit(structs.replace(submission, request=request))
    assert count_told(await read(generation)) == 0
    await metered.meter.ledger.flush()
    (row,) = metered.meter.rows.rows.values()
    assert (row.outcome, row.output_tokens) == ("engine_error", 90)
