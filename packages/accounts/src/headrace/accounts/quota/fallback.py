"""Shared quotas, and what counts in their place while they can't be reached.

While Redis is away each gateway counts for itself, from what the ledger says: N gateways may then let through up to N
times a limit of a minute, and budgets stay right within what is used meanwhile. To refuse everybody in place of it
would make Redis one more thing that nothing works without.

When Redis is back, what it knows of its budgets is asked from the ledger again for everybody who used something
meanwhile, and settlements that did not reach it are sent again.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence

import structlog
from msgspec import structs

from headrace.accounts.observer import MeteringObserver
from headrace.accounts.quota.base import (
    Amount,
    Counter,
    Granted,
    Peeked,
    QuotaStore,
    QuotaUnavailableError,
    Reservation,
    Settlement,
    Standing,
    Unseeded,
    Verdict,
)
from headrace.accounts.quota.deciding import needed_counters
from headrace.accounts.quota.memory import MemoryQuotaStore

PAUSE_SECONDS = 1.0
"""How long a store that did not answer is not asked again."""
MAX_LATE = 20_000
"""Settlements that wait for the store; the oldest are given up first, and are then settled when their leases expire."""

_log = structlog.get_logger("headrace.accounts")


class FallbackQuotaStore:
    """A `QuotaStore` that never raises.

    Args:
        shared: asked first.
        local: counts while it is away.
        observers: are told when it goes and when it is back.
        clock: Unix seconds.
    """

    def __init__(
        self,
        shared: QuotaStore,
        local: MemoryQuotaStore,
        *,
        observers: Sequence[MeteringObserver] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._shared = shared
        self._local = local
        self._observers = observers
        self._clock = clock
        self._asks_again_at: float | None = None
        self._local_ids: set[str] = set()
        self._late: OrderedDict[str, Settlement] = OrderedDict()
        self._stale: set[str] = set()

    async def reserve(self, reservation: Reservation) -> Verdict:
        """Reserve in the shared store, or here while it is away; see `QuotaStore`."""
        if self._may_ask and reservation.request_id not in self._local_ids:
            if self._asks_again_at is None and (counters := self._stale_counters(reservation)):
                return Unseeded(counters)
            try:
                verdict = await self._shared.reserve(reservation)
            except QuotaUnavailableError as error:
                self._note_absence(error)
            else:
                self._note_answer()
                return verdict
        verdict = await self._local.reserve(reservation)
        if isinstance(verdict, Granted):
            self._local_ids.add(reservation.request_id)
            self._stale.update(subject.name for subject in reservation.subjects)
        return verdict

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Replace reservations by what was used, where they were made, or later; see `QuotaStore`."""
        here = [each for each in settlements if each.request_id in self._local_ids]
        self._local_ids.difference_update(each.request_id for each in here)
        await self._local.settle(here)
        # The shared store may have reserved them too, and have died before it said so.
        self._keep_late(here)
        # What waits to be sent is the first word on its request, and the first word counts.
        there = [each for each in settlements if each not in here and each.request_id not in self._late]
        if there and not await self._try(self._shared.settle(there) if self._may_ask else None):
            self._keep_late(there)

    async def renew(self, leases: Sequence[Reservation]) -> None:
        """Hold on to leases; once the shared store is back, those that were taken here move there.

        It also sends the settlements that did not arrive; see `QuotaStore`.
        """
        if not leases and not self._late:
            return
        if not await self._try(self._shared.renew(leases) if self._may_ask else None):
            await self._local.renew([lease for lease in leases if lease.request_id in self._local_ids])
            return
        moved = [lease for lease in leases if lease.request_id in self._local_ids]
        self._local_ids.difference_update(lease.request_id for lease in moved)
        await self._local.settle([_end_unused(lease) for lease in moved])
        late = list(self._late.values())
        if late and await self._try(self._shared.settle(late)):
            for each in late:
                self._late.pop(each.request_id, None)

    async def seed(self, tenant_id: str, used: Sequence[tuple[Counter, Amount]]) -> None:
        """Say what budgets have used, to the store that counts now; see `QuotaStore`."""
        if await self._try(self._shared.seed(tenant_id, used) if self._may_ask else None):
            self._stale.difference_update(counter.subject for counter, _ in used)
        else:
            await self._local.seed(tenant_id, used)

    async def look(self, tenant_id: str, subject: str) -> Standing:
        """Return where a subject stands; see `QuotaStore`."""
        if self._may_ask:
            try:
                return await self._shared.look(tenant_id, subject)
            except QuotaUnavailableError as error:
                self._note_absence(error)
        return await self._local.look(tenant_id, subject)

    async def peek(self, tenant_id: str, subject: str) -> Peeked:
        """Return what a subject has taken, where it is counted now; see `QuotaStore`."""
        if self._may_ask:
            try:
                peeked = await self._shared.peek(tenant_id, subject)
            except QuotaUnavailableError as error:
                self._note_absence(error)
            else:
                return _without_used(peeked) if subject in self._stale else peeked
        return await self._local.peek(tenant_id, subject)

    async def close(self) -> None:
        """Close the connections."""
        await self._shared.close()

    @property
    def _may_ask(self) -> bool:
        return self._asks_again_at is None or self._clock() >= self._asks_again_at

    def _keep_late(self, settlements: Sequence[Settlement]) -> None:
        self._late.update((each.request_id, each) for each in settlements)
        while len(self._late) > MAX_LATE:
            self._late.popitem(last=False)

    def _stale_counters(self, reservation: Reservation) -> tuple[Counter, ...]:
        stale = [subject for subject in reservation.subjects if subject.name in self._stale]
        return tuple(needed_counters(stale, self._clock())) if stale else ()

    async def _try(self, asking: Awaitable[None] | None) -> bool:
        """Tell whether the shared store did what it was asked; None is not to ask it."""
        if asking is None:
            return False
        try:
            await asking
        except QuotaUnavailableError as error:
            self._note_absence(error)
            return False
        self._note_answer()
        return True

    def _note_absence(self, error: QuotaUnavailableError) -> None:
        if self._asks_again_at is None:
            # Said once: a Redis that stays away would fill the log.
            _log.warning("quota store lost", reason=str(error))
            # What it was told while Redis was away before is long out of date.
            self._local.forget_budgets()
            for observer in self._observers:
                observer.quota_store_changed(is_away=True)
        self._asks_again_at = self._clock() + PAUSE_SECONDS

    def _note_answer(self) -> None:
        if self._asks_again_at is not None:
            self._asks_again_at = None
            _log.info("quota store back")
            for observer in self._observers:
                observer.quota_store_changed(is_away=False)


def _without_used(peeked: Peeked) -> Peeked:
    """Return the same, with what was used left to the ledger: this store has missed some of it."""
    day, month = (structs.replace(each, used=None) for each in (peeked.day, peeked.month))
    return structs.replace(peeked, day=day, month=month)


def _end_unused(lease: Reservation) -> Settlement:
    return Settlement(request_id=lease.request_id, tenant_id=lease.tenant_id, owner=lease.owner, used=Amount())
