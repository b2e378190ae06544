"""Quotas of several gateways over one real Redis: a race for one budget, and a Redis that is killed and forgets all."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import httpx
import pytest
import redis.asyncio

from headrace.accounts.limits import CallerLimits, KeyLimits
from headrace.accounts.quota.base import Amount
from headrace.accounts.quota.fallback import FallbackQuotaStore
from headrace.accounts.quota.memory import MemoryQuotaStore
from headrace.accounts.quota.redis import RedisQuotaStore
from headrace.apps.cli.nodes import RedisNode, RunningNode, running_redis
from headrace.gateway.app import GatewayParts, create_app
from headrace.schema.settings import GatewaySettings, RedisSettings
from tests.support.metering import FlakyUsageStore, Meter
from tests.support.values import fresh_name
from tests.unit.accounts.test_metering import make_submission
from tests.unit.gateway.doubles import CHAT, HELLO, MODELS, USAGE, ScriptedSource, open_client
from tests.unit.gateway.test_rate_limits import OneCaller

pytestmark = pytest.mark.services

USED = USAGE.input_tokens + USAGE.output_tokens
WAIT_SECONDS = 20


@pytest.fixture
def redis_of_its_own(tmp_path: Path) -> Generator[tuple[RedisNode, RunningNode]]:
    with running_redis(tmp_path) as running:
        yield running


@asynccontextmanager
async def gateway(
    node: RedisNode, folder: Path, limits: CallerLimits, rows: FlakyUsageStore, source: ScriptedSource | None = None
) -> AsyncGenerator[tuple[httpx.AsyncClient, Meter]]:
    store = FallbackQuotaStore(RedisQuotaStore(RedisSettings(url=node.url), clock=time.time), MemoryQuotaStore())
    async with Meter(
        source or ScriptedSource(*HELLO), folder, limits=limits, store=store, rows=rows
    ).running() as meter:
        parts = GatewayParts(
            source=OneCaller(meter), models=MODELS, settings=GatewaySettings(), version="1", max_timeout_seconds=100.0
        )
        async with open_client(create_app(parts)) as client:
            yield client, meter


async def test_two_gateways_race_for_one_budget(
    redis_of_its_own: tuple[RedisNode, RunningNode], tmp_path: Path
) -> None:
    node, _ = redis_of_its_own
    budget = 1000
    limits = CallerLimits(tenant=KeyLimits(tokens_per_day=budget))
    rows = FlakyUsageStore()
    async with AsyncExitStack() as stack:
        gateways = [
            await stack.enter_async_context(gateway(node, tmp_path / fresh_name("journal"), limits, rows))
            for _ in range(2)
        ]
        body = CHAT | {"max_tokens": 20}
        reservation = 20 + 8 + 5  # "a secret prompt", for its bytes
        passed = 0
        while True:
            answers = await asyncio.gather(
                *(gateways[number % 2][0].post("/v1/chat/completions", json=body) for number in range(200))
            )
            codes = {answer.status_code for answer in answers}
            assert codes <= {200, 429}
            wave = sum(answer.status_code == 200 for answer in answers)
            passed += wave
            assert passed * USED <= budget
            if not wave:
                break
        assert budget - reservation < passed * USED <= budget
        standing = await gateways[0][1].store.look("t", "tenant:t")
        assert (standing.running, standing.day) == (0, Amount(passed * USED, 74 * passed))
        for _, meter in gateways:
            await meter.ledger.flush()
    assert len(rows.rows) == passed
    assert sum(row.input_tokens + row.output_tokens for row in rows.rows.values()) == passed * USED


async def test_a_redis_that_forgets_everything(redis_of_its_own: tuple[RedisNode, RunningNode], tmp_path: Path) -> None:
    node, running = redis_of_its_own
    limits = CallerLimits(key=KeyLimits(tokens_per_month=150, concurrent_generations=1))
    rows = FlakyUsageStore()
    gate = asyncio.Event()
    source = ScriptedSource(*HELLO)
    async with gateway(node, tmp_path / "journal", limits, rows, source) as (client, meter):
        for _ in range(5):
            assert (await client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 20})).status_code == 200
        source.steps = (HELLO[0], gate, HELLO[2])
        runs = await meter.source.submit(make_submission())
        await meter.ledger.flush()
        await asyncio.to_thread(running.kill)
        # It counts alone, from what the ledger knows.
        source.steps = HELLO
        assert (await client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 100})).status_code == 429
        assert (await client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 20})).status_code == 200
        await asyncio.to_thread(running.start)
        await meter.ledger.flush()
        lease = meter.quota
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                await lease.renew_now()
                standing = await meter.store.look("t", "key:k")
                if standing.running == 1 and meter.observer.refused:
                    break
                await asyncio.sleep(0.05)
        # The one that runs is held again, so a second one is one too many.
        answer = await client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 20})
        assert answer.status_code == 429
        gate.set()
        async for _ in runs:
            pass
        assert (await client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 20})).status_code == 200
        standing = await meter.store.look("t", "key:k")
        assert standing.running == 0
        # All but the one that ran meanwhile is counted from the ledger, and that one from its lease or the ledger.
        assert standing.month == Amount(8 * USED, 8 * 74)


async def test_scripts_that_redis_has_forgotten_are_sent_again(redis_of_its_own: tuple[RedisNode, RunningNode]) -> None:
    node, _ = redis_of_its_own
    store = RedisQuotaStore(RedisSettings(url=node.url), clock=time.time)
    client = redis.asyncio.Redis.from_url(node.url)  # pyright: ignore[reportUnknownMemberType]
    for _ in range(3):
        assert (await store.look("t", "key:k")).running == 0
        await client.script_flush()
    await client.aclose()
    await store.close()
