"""Every store of quotas: whole reservations or none, settled once by what was used, released by whatever happens."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headrace.accounts.limits import KeyLimits
from headrace.accounts.quota.base import (
    Amount,
    Counter,
    Granted,
    LimitKind,
    Peeked,
    QuotaStore,
    Refused,
    Reservation,
    Settlement,
    Spent,
    Subject,
    Unseeded,
    Verdict,
)
from headrace.accounts.quota.memory import EXPIRED_SECONDS, LEASE_SECONDS, MemoryQuotaStore
from headrace.accounts.quota.periods import bounds_of, day_of, month_of
from headrace.accounts.quota.redis import RedisQuotaStore
from headrace.apps.cli.nodes import RedisNode
from headrace.schema.settings import RedisSettings
from headrace.transport.redis.client import open_client
from tests.support.values import fresh_name

# Noon of a day in the middle of a month.
NOON = 1_763_208_000.0


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class Rig:
    """A store, a clock that the test moves, and a tenant of its own."""

    def __init__(self, store: QuotaStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.tenant = fresh_name("tenant")
        self.key = f"key:{self.tenant}"
        self.shared = f"tenant:{self.tenant}"

    def reservation(
        self,
        limits: KeyLimits,
        tokens: int = 10,
        *,
        cost: int = 0,
        tenant_limits: KeyLimits | None = None,
        request_id: str | None = None,
        owner: str = "one",
    ) -> Reservation:
        subjects = (Subject(name=self.key, limits=limits),)
        if tenant_limits is not None:
            subjects += (Subject(name=self.shared, limits=tenant_limits),)
        return Reservation(
            request_id=request_id or fresh_name("gen"),
            tenant_id=self.tenant,
            owner=owner,
            subjects=subjects,
            estimate=Amount(tokens, cost),
        )

    async def reserve(self, reservation: Reservation) -> Verdict:
        """Reserve, with budgets that begin at nothing."""
        verdict = await self.store.reserve(reservation)
        if isinstance(verdict, Unseeded):
            await self.store.seed(self.tenant, [(counter, Amount()) for counter in verdict.counters])
            verdict = await self.store.reserve(reservation)
        return verdict

    async def settle(self, reservation: Reservation, tokens: int, cost: int = 0, owner: str | None = None) -> None:
        await self.store.settle(
            [
                Settlement(
                    request_id=reservation.request_id,
                    tenant_id=self.tenant,
                    owner=owner or reservation.owner,
                    used=Amount(tokens, cost),
                )
            ]
        )

    async def refused(self, reservation: Reservation) -> Refused:
        verdict = await self.reserve(reservation)
        assert isinstance(verdict, Refused), verdict
        return verdict

    async def granted(self, reservation: Reservation) -> Granted:
        verdict = await self.reserve(reservation)
        assert isinstance(verdict, Granted), verdict
        return verdict


def make_memory(clock: Clock, _redis: RedisNode | None) -> QuotaStore:
    return MemoryQuotaStore(clock=clock)


def make_redis(clock: Clock, node: RedisNode | None) -> QuotaStore:
    assert node is not None
    return RedisQuotaStore(RedisSettings(url=node.url), clock=clock, redis_time=False)


KINDS = [pytest.param(make_memory, id="memory"), pytest.param(make_redis, id="redis", marks=pytest.mark.services)]


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest) -> Callable[[Clock], QuotaStore]:
    node = request.getfixturevalue("redis_node") if request.param is make_redis else None
    return lambda clock: request.param(clock, node)


@pytest.fixture
async def rig(make: Callable[[Clock], QuotaStore]) -> AsyncGenerator[Rig]:
    clock = Clock()
    store = make(clock)
    yield Rig(store, clock)
    await store.close()


async def test_requests_of_any_minute(rig: Rig) -> None:
    limits = KeyLimits(requests_per_minute=2)
    first = await rig.granted(rig.reservation(limits))
    assert (first.rate_limits.limit_requests, first.rate_limits.remaining_requests) == (2, 1)
    assert first.rate_limits.limit_tokens is None
    rig.clock.now += 30
    await rig.granted(rig.reservation(limits))
    refused = await rig.refused(rig.reservation(limits))
    assert (refused.kind, refused.subject, refused.limit) == (LimitKind.REQUESTS_PER_MINUTE, rig.key, 2)
    assert refused.rate_limits.remaining_requests == 0
    assert refused.retry_after_seconds == 35.0
    rig.clock.now += 35.0
    await rig.granted(rig.reservation(limits))
    await rig.refused(rig.reservation(limits))


async def test_tokens_of_any_minute_are_settled_by_what_was_used(rig: Rig) -> None:
    limits = KeyLimits(tokens_per_minute=100)
    one = rig.reservation(limits, 60)
    await rig.granted(one)
    refused = await rig.refused(rig.reservation(limits, 50))
    assert refused.kind == LimitKind.TOKENS_PER_MINUTE
    assert refused.retry_after_seconds == 65.0
    assert refused.rate_limits.remaining_tokens == 40
    await rig.settle(one, 20)
    await rig.granted(rig.reservation(limits, 80))
    refused = await rig.refused(rig.reservation(limits, 1))
    assert refused.rate_limits.reset_tokens_seconds == 65.0


async def test_more_than_was_reserved_may_be_used(rig: Rig) -> None:
    limits = KeyLimits(tokens_per_minute=100, tokens_per_day=1000)
    one = rig.reservation(limits, 60)
    await rig.granted(one)
    await rig.settle(one, 150)
    standing = await rig.store.look(rig.tenant, rig.key)
    assert (standing.tokens, standing.day) == (150, Amount(150, 0))
    refused = await rig.refused(rig.reservation(limits, 1))
    assert refused.rate_limits.remaining_tokens == 0


async def test_what_is_larger_than_a_limit_never_fits(rig: Rig) -> None:
    for limits in (KeyLimits(tokens_per_minute=100), KeyLimits(tokens_per_day=100)):
        refused = await rig.refused(rig.reservation(limits, 101))
        assert refused.retry_after_seconds is None


async def test_generations_at_once(rig: Rig) -> None:
    limits = KeyLimits(concurrent_generations=2)
    one, two = rig.reservation(limits), rig.reservation(limits)
    await rig.granted(one)
    await rig.granted(two)
    refused = await rig.refused(rig.reservation(limits))
    assert refused.kind == LimitKind.CONCURRENT
    assert refused.retry_after_seconds is not None
    await rig.settle(one, 0)
    await rig.settle(one, 0)
    await rig.granted(rig.reservation(limits))
    await rig.refused(rig.reservation(limits))


async def test_budgets_of_days_and_months(rig: Rig) -> None:
    limits = KeyLimits(tokens_per_day=100, tokens_per_month=150)
    one = rig.reservation(limits, 100)
    await rig.granted(one)
    refused = await rig.refused(rig.reservation(limits, 1))
    assert (refused.kind, refused.retry_after_seconds) == (LimitKind.TOKENS_PER_DAY, 12 * 3600)
    rig.clock.now += 12 * 3600
    two = rig.reservation(limits, 60)
    refused = await rig.refused(two)
    assert refused.kind == LimitKind.TOKENS_PER_MONTH
    assert refused.retry_after_seconds == bounds_of(month_of(rig.clock.now))[1] - rig.clock.now
    # It belongs to the day on which it began, whenever it ends; by then nobody holds its lease any more.
    await rig.settle(one, 80)
    assert (await rig.store.look(rig.tenant, rig.key)).day == Amount(0, 0)
    await rig.granted(two)


async def test_cost_of_a_month(rig: Rig) -> None:
    limits = KeyLimits(cost_per_month_micros=1000)
    one = rig.reservation(limits, cost=700)
    await rig.granted(one)
    assert (await rig.refused(rig.reservation(limits, cost=400))).kind == LimitKind.COST_PER_MONTH
    await rig.settle(one, 1, cost=600)
    await rig.granted(rig.reservation(limits, cost=400))
    assert (await rig.store.look(rig.tenant, rig.key)).month == Amount(11, 1000)


async def test_a_tenant_limits_its_keys_together_and_nothing_is_taken_where_one_refuses(rig: Rig) -> None:
    key, tenant = KeyLimits(requests_per_minute=9, tokens_per_minute=500), KeyLimits(tokens_per_minute=100)
    await rig.granted(rig.reservation(key, 60, tenant_limits=tenant))
    refused = await rig.refused(rig.reservation(key, 60, tenant_limits=tenant))
    assert (refused.subject, refused.limit) == (rig.shared, 100)
    # The one with the least left is told.
    assert (refused.rate_limits.limit_tokens, refused.rate_limits.remaining_tokens) == (100, 40)
    assert refused.rate_limits.remaining_requests == 8
    standing = await rig.store.look(rig.tenant, rig.key)
    assert (standing.requests, standing.tokens, standing.running) == (1, 60, 1)


async def test_a_request_that_is_sent_twice_is_reserved_once_and_has_its_last_owner(rig: Rig) -> None:
    limits = KeyLimits(requests_per_minute=9, concurrent_generations=1)
    one = rig.reservation(limits)
    await rig.granted(one)
    await rig.granted(rig.reservation(limits, request_id=one.request_id, owner="two"))
    standing = await rig.store.look(rig.tenant, rig.key)
    assert (standing.requests, standing.running) == (1, 1)
    # The first owner's end means nothing any more.
    await rig.settle(one, 5, owner="one")
    assert (await rig.store.look(rig.tenant, rig.key)).running == 1
    await rig.settle(one, 5, owner="two")
    assert (await rig.store.look(rig.tenant, rig.key)).running == 0


async def test_a_lease_that_nobody_renews_is_no_longer_running_and_stays_reserved(rig: Rig) -> None:
    limits = KeyLimits(concurrent_generations=1, tokens_per_month=1000)
    one = rig.reservation(limits, 100)
    await rig.granted(one)
    rig.clock.now += LEASE_SECONDS - 1
    await rig.store.renew([one])
    rig.clock.now += LEASE_SECONDS - 1
    assert (await rig.store.look(rig.tenant, rig.key)).running == 1
    rig.clock.now += 2
    standing = await rig.store.look(rig.tenant, rig.key)
    assert (standing.running, standing.month) == (0, Amount(100, 0))
    # It was only slow: it runs again.
    await rig.store.renew([one])
    assert (await rig.store.look(rig.tenant, rig.key)).running == 1
    rig.clock.now += LEASE_SECONDS + 1
    await rig.settle(one, 30)
    standing = await rig.store.look(rig.tenant, rig.key)
    assert (standing.running, standing.month) == (0, Amount(30, 0))


async def test_what_nobody_ever_settles_counts_as_it_was_reserved(rig: Rig) -> None:
    limits = KeyLimits(concurrent_generations=1, tokens_per_month=1000)
    one = rig.reservation(limits, 100)
    await rig.granted(one)
    rig.clock.now += LEASE_SECONDS + 1
    assert (await rig.store.look(rig.tenant, rig.key)).running == 0
    rig.clock.now += EXPIRED_SECONDS + 1
    assert (await rig.store.look(rig.tenant, rig.key)).month == Amount(100, 0)
    await rig.settle(one, 30)
    assert (await rig.store.look(rig.tenant, rig.key)).month == Amount(100, 0)


async def test_a_lease_that_the_store_has_lost_is_taken_again(rig: Rig) -> None:
    one = rig.reservation(KeyLimits(concurrent_generations=1, tokens_per_month=1000), 100)
    await rig.store.renew([one])
    await rig.store.renew([one])
    await rig.store.seed(rig.tenant, [(Counter(rig.key, month_of(NOON)), Amount(500, 7))])
    standing = await rig.store.look(rig.tenant, rig.key)
    assert (standing.running, standing.requests, standing.month) == (1, 0, Amount(600, 7))
    await rig.settle(one, 40, cost=1)
    assert (await rig.store.look(rig.tenant, rig.key)).month == Amount(540, 8)


async def test_budgets_are_asked_for_and_never_made_smaller(rig: Rig) -> None:
    one = rig.reservation(KeyLimits(tokens_per_day=100, cost_per_month_micros=100), 10)
    verdict = await rig.store.reserve(one)
    day, month = Counter(rig.key, day_of(NOON)), Counter(rig.key, month_of(NOON))
    assert verdict == Unseeded((day, month))
    await rig.store.seed(rig.tenant, [(day, Amount(90, 1)), (month, Amount(200, 2))])
    await rig.store.seed(rig.tenant, [(day, Amount(80, 5)), (month, Amount(0, 0))])
    await rig.granted(one)
    standing = await rig.store.look(rig.tenant, rig.key)
    assert (standing.day, standing.month) == (Amount(100, 5), Amount(210, 2))
    await rig.refused(rig.reservation(KeyLimits(tokens_per_day=100), 1))


async def test_tenants_are_apart_and_settled_together(rig: Rig) -> None:
    limits = KeyLimits(concurrent_generations=1)
    one = rig.reservation(limits)
    other = Rig(rig.store, rig.clock)
    two = other.reservation(limits)
    await rig.granted(one)
    await other.granted(two)
    await rig.store.renew([one, two])
    await rig.store.settle(
        [
            Settlement(request_id=each.request_id, tenant_id=each.tenant_id, owner="one", used=Amount(1))
            for each in (one, two)
        ]
    )
    for each in (rig, other):
        assert (await each.store.look(each.tenant, rig.key)).running == 0


async def test_of_many_at_once_as_many_pass_as_may(rig: Rig) -> None:
    limits = KeyLimits(tokens_per_day=95)
    await rig.granted(rig.reservation(limits, 0))
    verdicts = await asyncio.gather(*(rig.reserve(rig.reservation(limits, 10)) for _ in range(30)))
    assert sum(isinstance(verdict, Granted) for verdict in verdicts) == 9


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), st.integers(0, 40), st.integers(0, 1)),
        st.tuples(st.just("settle"), st.integers(0, 60), st.integers(0, 5)),
        st.tuples(st.just("renew"), st.just(0), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(1, 40), st.just(0)),
    ),
    max_size=40,
)
KEYS = (
    KeyLimits(requests_per_minute=4, tokens_per_minute=60, concurrent_generations=2),
    KeyLimits(tokens_per_day=150, concurrent_generations=3),
)
SHARED = KeyLimits(tokens_per_minute=100, tokens_per_month=250, concurrent_generations=4)


class Model:
    """What was granted and used, in the plainest words."""

    def __init__(self) -> None:
        self.open: dict[str, tuple[Reservation, float]] = {}
        self.taken: list[tuple[float, Reservation]] = []
        self.used = 0

    def check_grant(self, now: float, reservation: Reservation) -> None:
        running = [lease for lease, until in self.open.values() if until > now]
        for subject in reservation.subjects:
            mine = [lease for lease in running if subject in lease.subjects]
            limit = subject.limits.concurrent_generations
            assert limit is None or len(mine) < limit
            minute = [lease for at, lease in self.taken if at > now - 60 and subject in lease.subjects]
            assert subject.limits.requests_per_minute is None or len(minute) < subject.limits.requests_per_minute


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
async def test_random_histories(make: Callable[[Clock], QuotaStore], steps: list[tuple[str, int, int]]) -> None:
    clock = Clock()
    rig, model = Rig(make(clock), clock), Model()
    for verb, number, which in steps:
        leases = [lease for lease, _ in model.open.values()]
        match verb:
            case "reserve":
                subjects = (
                    Subject(name=f"{rig.key}/{which}", limits=KEYS[which]),
                    Subject(name=rig.shared, limits=SHARED),
                )
                wanted: Any = Reservation(
                    request_id=fresh_name("gen"),
                    tenant_id=rig.tenant,
                    owner="one",
                    subjects=subjects,
                    estimate=Amount(number, number),
                )
                if isinstance(await rig.reserve(wanted), Granted):
                    model.check_grant(clock.now, wanted)
                    assert model.used + sum(lease.estimate.tokens for lease in leases) + number <= 250
                    model.open[wanted.request_id] = (wanted, clock.now + LEASE_SECONDS)
                    model.taken.append((clock.now, wanted))
            case "settle" if leases:
                lease = leases[which % len(leases)]
                # Never more than was reserved, so that no limit is passed.
                used = min(number, lease.estimate.tokens)
                await rig.settle(lease, used, used)
                await rig.settle(lease, used + 7, used)
                model.used += used
                del model.open[lease.request_id]
            case "renew" if leases:
                lease = leases[which % len(leases)]
                await rig.store.renew([lease])
                model.open[lease.request_id] = (lease, clock.now + LEASE_SECONDS)
            case "wait":
                clock.now += number
            case _:
                pass
        for index, limits in enumerate((*KEYS, SHARED)):
            name = rig.shared if limits is SHARED else f"{rig.key}/{index}"
            standing = await rig.store.look(rig.tenant, name)
            running = [
                lease
                for lease, until in model.open.values()
                if until > clock.now and any(subject.name == name for subject in lease.subjects)
            ]
            assert standing.running == len(running)
            assert standing.tokens <= (limits.tokens_per_minute or 10**9)
    for lease, _ in model.open.values():
        await rig.settle(lease, lease.estimate.tokens, 0)
        model.used += lease.estimate.tokens
    standing = await rig.store.look(rig.tenant, rig.shared)
    assert standing.running == 0
    if standing.month is not None:
        assert standing.month.tokens == model.used
    await rig.store.close()


async def test_a_peek_says_what_is_taken(rig: Rig) -> None:
    assert await rig.store.peek(rig.tenant, rig.key) == Peeked()
    limits = KeyLimits(tokens_per_day=1000, cost_per_month_micros=1000)
    one, other = rig.reservation(limits, 60, cost=6), rig.reservation(limits, 30, cost=3)
    await rig.granted(one)
    rig.clock.now += 5
    await rig.granted(other)
    await rig.settle(one, 20, 2)
    assert await rig.store.peek(rig.tenant, rig.key) == Peeked(
        running=1,
        requests=2,
        requests_reset_seconds=65.0,
        tokens=50,
        tokens_reset_seconds=65.0,
        day=Spent(used=Amount(20, 2), reserved=Amount(30, 3)),
        month=Spent(used=Amount(20, 2), reserved=Amount(30, 3)),
    )
    assert await rig.store.peek(rig.tenant, rig.shared) == Peeked()
    rig.clock.now += 24 * 3600
    later = await rig.store.peek(rig.tenant, rig.key)
    assert (later.requests, later.tokens, later.tokens_reset_seconds, later.day) == (0, 0, 0.0, Spent())


async def test_a_peek_knows_what_nobody_has_said(rig: Rig) -> None:
    # Without a budget nothing is seeded, and what is reserved is known all the same.
    await rig.granted(rig.reservation(KeyLimits(concurrent_generations=1), 60, cost=6))
    peeked = await rig.store.peek(rig.tenant, rig.key)
    assert (peeked.running, peeked.month) == (1, Spent(used=None, reserved=Amount(60, 6)))


async def test_a_peek_changes_nothing(rig: Rig) -> None:
    limits = KeyLimits(concurrent_generations=1, tokens_per_month=100)
    await rig.granted(rig.reservation(limits, 60))
    before = await rig.store.look(rig.tenant, rig.key)
    for _ in range(3):
        await rig.store.peek(rig.tenant, rig.key)
    assert await rig.store.look(rig.tenant, rig.key) == before
    # What a gateway that is gone ran is no longer shown as running, and is still there for whoever ends it.
    rig.clock.now += LEASE_SECONDS + 1
    peeked = await rig.store.peek(rig.tenant, rig.key)
    assert (peeked.running, peeked.month.reserved.tokens) == (0, 60)
    assert await rig.store.peek(rig.tenant, rig.key) == peeked
    looked = await rig.store.look(rig.tenant, rig.key)
    assert (looked.running, looked.month) == (0, Amount(60))
    assert await rig.store.peek(rig.tenant, rig.key) == peeked


@pytest.mark.services
async def test_a_peek_writes_nothing_to_redis(redis_node: RedisNode) -> None:
    clock = Clock()
    rig = Rig(make_redis(clock, redis_node), clock)
    client: Any = open_client(RedisSettings(url=redis_node.url), connections=1)
    await rig.granted(rig.reservation(KeyLimits(tokens_per_month=100), 60))
    clock.now += LEASE_SECONDS + 70

    async def dump() -> dict[Any, Any]:
        return {key: await client.dump(key) for key in await client.keys(f"*{rig.tenant}*")}

    before = await dump()
    assert before
    await rig.store.peek(rig.tenant, rig.key)
    await rig.store.peek(rig.tenant, "key:nobody")
    assert await dump() == before
    await client.aclose()
    await rig.store.close()
