"""What is left of limits: sizes, what is taken, when it is over, and what the ledger knows when the store does not."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from headrace.accounts.limits import CallerLimits, KeyLimits
from headrace.accounts.quota.base import Amount, Counter, Granted, Peeked, Reservation, Spent, Subject
from headrace.accounts.quota.memory import MemoryQuotaStore
from headrace.accounts.quota.remaining import LimitState, QuotaLimitsReport, list_limits
from headrace.schema.caller import ANONYMOUS, Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from tests.support.metering import FlakyQuotaStore, GivenLimits

# Noon of 15 November 2025, UTC.
NOON = 1_763_208_000.0
TOMORROW, NEXT_MONTH = datetime(2025, 11, 16, tzinfo=UTC), datetime(2025, 12, 1, tzinfo=UTC)
CALLER = Caller(tenant_id="t", key_id="k")


class Ledger:
    """A `Baseline` that says the same of every counter, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Counter] = []

    async def used(self, counters: Sequence[Counter]) -> Sequence[Amount]:
        self.asked += counters
        return [Amount(70, 7) for _ in counters]


def test_each_limit_that_there_is_is_told() -> None:
    limits = KeyLimits(
        requests_per_minute=10,
        tokens_per_minute=100,
        concurrent_generations=4,
        tokens_per_day=1000,
        tokens_per_month=5000,
        cost_per_month_micros=50,
    )
    peeked = Peeked(
        running=1,
        requests=3,
        requests_reset_seconds=30.0,
        day=Spent(used=Amount(900, 9), reserved=Amount(60, 6)),
        month=Spent(used=Amount(5001, 51), reserved=Amount(60, 6)),
    )
    told = list_limits("key", limits, peeked, now=NOON)
    assert [(each.limit, each.size, each.used, each.reserved, each.left, each.resets_at) for each in told] == [
        ("requests_per_minute", 10, 3, 0, 7, datetime.fromtimestamp(NOON + 30, UTC)),
        ("tokens_per_minute", 100, 0, 0, 100, None),
        ("concurrent_generations", 4, 1, 0, 3, None),
        ("tokens_per_day", 1000, 900, 60, 40, TOMORROW),
        ("tokens_per_month", 5000, 5001, 60, 0, NEXT_MONTH),
        ("cost_per_month_micros", 50, 51, 6, 0, NEXT_MONTH),
    ]
    assert set(KeyLimits.__struct_fields__) == {each.limit for each in told}
    assert list_limits("tenant", KeyLimits(), peeked, now=NOON) == ()


async def test_what_the_store_does_not_know_is_asked_of_the_ledger() -> None:
    store, ledger = MemoryQuotaStore(clock=lambda: NOON), Ledger()
    limits = CallerLimits(
        key=KeyLimits(tokens_per_day=100, requests_per_minute=5), tenant=KeyLimits(cost_per_month_micros=100)
    )
    report = QuotaLimitsReport(store, baseline=ledger, limits=GivenLimits(limits), clock=lambda: NOON)
    expected = LimitState(
        limit="tokens_per_day", owner="key", size=100, used=70, reserved=0, left=30, resets_at=TOMORROW
    )
    requests, day, cost = await report.of_caller(CALLER)
    assert (requests.owner, requests.left, day) == ("key", 5, expected)
    assert (cost.owner, cost.used, cost.left) == ("tenant", 7, 93)
    assert ledger.asked == [Counter("key:k", "20251115"), Counter("tenant:t", "202511")]
    # Nobody was told of it: the store still knows nothing.
    assert (await store.peek("t", "key:k")).day.used is None

    await store.seed("t", [(Counter("key:k", "20251115"), Amount(10, 1))])
    subject = Subject(name="key:k", limits=limits.key)
    running = Reservation(request_id="r", tenant_id="t", owner="o", subjects=(subject,), estimate=Amount(20))
    assert isinstance(await store.reserve(running), Granted)
    requests, day = await report.of_key("t", "k", limits.key)
    assert (requests.used, day.used, day.reserved, day.left) == (1, 10, 20, 70)
    assert len(ledger.asked) == 2


async def test_who_has_no_limits_is_told_none() -> None:
    store = FlakyQuotaStore(MemoryQuotaStore())
    report = QuotaLimitsReport(store, baseline=Ledger(), limits=GivenLimits())
    store.is_away = True
    assert await report.of_caller(CALLER) == await report.of_caller(ANONYMOUS) == ()
    with pytest.raises(HeadraceError) as caught:
        await report.of_tenant("t", KeyLimits(requests_per_minute=1))
    assert caught.value.code == ErrorCode.ACCOUNTS_UNAVAILABLE
