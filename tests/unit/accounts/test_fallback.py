"""While the shared quotas are away a gateway counts alone, and afterwards nothing is counted twice or forgotten."""

from msgspec import structs

from headrace.accounts.limits import KeyLimits
from headrace.accounts.quota.base import Amount, Granted, Refused, Reservation, Settlement, Subject, Unseeded, Verdict
from headrace.accounts.quota.fallback import PAUSE_SECONDS, FallbackQuotaStore
from headrace.accounts.quota.memory import MemoryQuotaStore
from tests.support.metering import FlakyQuotaStore, MeteringRecorder
from tests.support.values import fresh_name

LIMITS = KeyLimits(requests_per_minute=3, tokens_per_month=100)
NOON = 1_763_208_000.0


class Rig:
    def __init__(self) -> None:
        self.now = NOON
        self.observer = MeteringRecorder()
        self.shared = FlakyQuotaStore(MemoryQuotaStore(clock=lambda: self.now))
        self.local = MemoryQuotaStore(clock=lambda: self.now)
        self.store = FallbackQuotaStore(self.shared, self.local, observers=[self.observer], clock=lambda: self.now)
        self.ledger = Amount(0, 0)

    def reservation(self, tokens: int = 10) -> Reservation:
        return Reservation(
            request_id=fresh_name("gen"),
            tenant_id="t",
            owner="one",
            subjects=(Subject(name="key:k", limits=LIMITS),),
            estimate=Amount(tokens),
        )

    async def reserve(self, reservation: Reservation) -> Verdict:
        verdict = await self.store.reserve(reservation)
        if isinstance(verdict, Unseeded):
            await self.store.seed("t", [(counter, self.ledger) for counter in verdict.counters])
            verdict = await self.store.reserve(reservation)
        return verdict

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        self.ledger = Amount(self.ledger.tokens + tokens)
        await self.store.settle(
            [Settlement(request_id=reservation.request_id, tenant_id="t", owner="one", used=Amount(tokens))]
        )

    async def shared_month(self) -> Amount | None:
        return (await self.shared.inner.look("t", "key:k")).month

    def come_back(self) -> None:
        self.shared.is_away = False
        self.now += PAUSE_SECONDS


async def test_a_gateway_counts_alone_while_nobody_answers() -> None:
    rig = Rig()
    rig.shared.is_away = True
    for _ in range(3):
        assert isinstance(await rig.reserve(rig.reservation()), Granted)
    assert isinstance(await rig.reserve(rig.reservation()), Refused)
    assert rig.observer.away == [True]
    assert (await rig.store.look("t", "key:k")).running == 3


async def test_what_was_used_alone_is_known_afterwards() -> None:
    rig = Rig()
    before = rig.reservation()
    assert isinstance(await rig.reserve(before), Granted)
    await rig.settle(before, 20)
    rig.shared.is_away = True
    alone = rig.reservation()
    assert isinstance(await rig.reserve(alone), Granted)
    await rig.settle(alone, 30)
    rig.come_back()
    await rig.store.renew([])
    after = rig.reservation()
    assert isinstance(await rig.reserve(after), Granted)
    assert await rig.shared_month() == Amount(60)
    await rig.settle(after, 5)
    assert await rig.shared_month() == Amount(55)
    assert rig.observer.away == [True, False]


async def test_a_peek_is_of_where_it_is_counted() -> None:
    rig = Rig()
    before = rig.reservation()
    await rig.reserve(before)
    await rig.settle(before, 20)
    assert (await rig.store.peek("t", "key:k")).month.used == Amount(20)
    rig.shared.is_away = True
    await rig.reserve(rig.reservation())
    away = await rig.store.peek("t", "key:k")
    assert away.running == 1
    rig.come_back()
    # It has missed something: the ledger knows better.
    assert (await rig.store.peek("t", "key:k")).month.used is None


async def test_what_runs_on_moves_to_the_shared_store() -> None:
    rig = Rig()
    rig.shared.is_away = True
    alone = rig.reservation()
    await rig.reserve(alone)
    await rig.store.renew([alone])
    rig.come_back()
    await rig.store.renew([alone])
    assert (await rig.local.look("t", "key:k")).running == 0
    assert (await rig.shared.inner.look("t", "key:k")).running == 1
    await rig.settle(alone, 7)
    assert (await rig.shared.inner.look("t", "key:k")).running == 0


async def test_a_settlement_that_did_not_arrive_is_sent_again() -> None:
    rig = Rig()
    one = rig.reservation()
    await rig.reserve(one)
    rig.shared.is_away = True
    await rig.settle(one, 4)
    # Nobody settles it a second time with something else.
    await rig.settle(structs.replace(one), 0)
    assert await rig.shared_month() == Amount(10)
    rig.come_back()
    await rig.store.renew([])
    assert await rig.shared_month() == Amount(4)


async def test_a_store_that_reserves_and_dies_before_it_says_so_is_settled_too() -> None:
    rig = Rig()
    first = rig.reservation()
    await rig.reserve(first)
    await rig.settle(first, 0)
    rig.shared.is_mute = True
    one = rig.reservation()
    assert isinstance(await rig.reserve(one), Granted)
    assert await rig.shared_month() == Amount(10)
    await rig.settle(one, 6)
    rig.shared.is_mute = False
    rig.come_back()
    await rig.store.renew([])
    assert await rig.shared_month() == Amount(6)


async def test_a_store_that_is_away_is_not_asked_all_the_time() -> None:
    rig = Rig()
    rig.shared.is_away = True
    await rig.reserve(rig.reservation())
    rig.shared.is_away = False
    await rig.reserve(rig.reservation())
    assert (await rig.shared.inner.look("t", "key:k")).requests == 0
    rig.now += PAUSE_SECONDS
    await rig.reserve(rig.reservation())
    assert (await rig.shared.inner.look("t", "key:k")).requests == 1
