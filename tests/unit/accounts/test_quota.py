"""Renewing and settling at once: what was used is charged, whichever comes first."""

import asyncio
from collections.abc import Sequence

from headrace.accounts.limits import KeyLimits
from headrace.accounts.quota.base import Amount, QuotaUnavailableError, Reservation, Settlement, Subject
from headrace.accounts.quota.memory import MemoryQuotaStore
from headrace.accounts.quota.quota import Quota
from tests.support.metering import FlakyUsageStore

LIMITS = KeyLimits(tokens_per_month=1000, concurrent_generations=5)
WAIT_SECONDS = 10


class SlowStore(MemoryQuotaStore):
    """A store whose renewals and real settlements wait until a test lets them through, to arrive in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.may_renew, self.may_settle = asyncio.Event(), asyncio.Event()
        self.renews, self.settles = asyncio.Event(), asyncio.Event()
        self.order: list[str] = []
        self.refuses = False

    async def renew(self, leases: Sequence[Reservation]) -> None:
        self.renews.set()
        await self.may_renew.wait()
        self.order.append("renewed")
        await super().renew(leases)

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        if all(each.used == Amount() for each in settlements):
            self.order.append("let go")
        else:
            self.settles.set()
            await self.may_settle.wait()
            if self.refuses:
                raise QuotaUnavailableError("away")
            self.order.append("settled")
        await super().settle(settlements)


def make_reservation(owner: str) -> Reservation:
    subject = Subject(name="key:k", limits=LIMITS)
    return Reservation(request_id="a", tenant_id="t", owner=owner, subjects=(subject,), estimate=Amount(100))


async def race(store: SlowStore, *, first: asyncio.Event, then: asyncio.Event) -> None:
    """Settle a generation while it is renewed, and let one of the two through before the other."""
    quota = Quota(store, baseline=FlakyUsageStore(), owner="one")
    await quota.reserve(make_reservation("one"))
    async with asyncio.timeout(WAIT_SECONDS), asyncio.TaskGroup() as group:
        group.create_task(quota.renew_now())
        await store.renews.wait()
        group.create_task(quota.settle("a", Amount(42)))
        await store.settles.wait()
        first.set()
        # As often as whatever follows from it could need.
        for _ in range(20):
            await asyncio.sleep(0)
        then.set()


async def test_a_settlement_that_is_on_its_way_is_not_overtaken() -> None:
    store = SlowStore()
    await race(store, first=store.may_renew, then=store.may_settle)
    assert store.order == ["renewed", "settled", "let go"]
    standing = await store.look("t", "key:k")
    assert (standing.month, standing.running) == (Amount(42), 0)


async def test_what_was_settled_and_then_renewed_is_let_go() -> None:
    store = SlowStore()
    await race(store, first=store.may_settle, then=store.may_renew)
    assert store.order == ["settled", "renewed", "let go"]
    standing = await store.look("t", "key:k")
    assert (standing.month, standing.running) == (Amount(42), 0)


async def test_what_could_not_be_settled_stays_reserved() -> None:
    store = SlowStore()
    store.refuses = True
    await race(store, first=store.may_renew, then=store.may_settle)
    assert store.order == ["renewed"]
    standing = await store.look("t", "key:k")
    assert standing.month == Amount(100)
