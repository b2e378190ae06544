"""The quotas of one gateway: its reservations, renewed while they run, over a store that may know nothing yet."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from headrace.accounts.observer import MeteringObserver
from headrace.accounts.quota.base import (
    Amount,
    Counter,
    Granted,
    QuotaStore,
    QuotaUnavailableError,
    Refused,
    Reservation,
    Settlement,
    Unseeded,
)
from headrace.accounts.quota.memory import LEASE_SECONDS
from headrace.accounts.quota.refusal import to_error
from headrace.schema.caller import RateLimits
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.transport.tasks import TaskOwner

RENEWALS_PER_LEASE = 6
# A store that forgets what it was told a moment ago, three times in a row, will not do better at the fourth.
TRIES = 3


class Baseline(Protocol):
    """Knows what budgets have used, when the store does not."""

    async def used(self, counters: Sequence[Counter]) -> Sequence[Amount]:
        """Return what each counter's subject has used in its period.

        Raises:
            HeadraceError: the database does not answer.
        """
        ...


class Quota:
    """Reserves, renews and settles.

    Args:
        store: where everything is counted.
        baseline: what the store is told when it knows nothing.
        owner: this replica.
        lease_seconds: how long the store holds a lease that is not renewed.
        observers: are told of refusals.
        clock: Unix seconds.
    """

    def __init__(
        self,
        store: QuotaStore,
        *,
        baseline: Baseline,
        owner: str,
        lease_seconds: float = LEASE_SECONDS,
        observers: Sequence[MeteringObserver] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.owner = owner
        self._store = store
        self._baseline = baseline
        self._pause_seconds = lease_seconds / RENEWALS_PER_LEASE
        self._observers = observers
        self._clock = clock
        self._leases: dict[str, Reservation] = {}
        # Settlements on their way; each says in the end whether it arrived.
        self._ending: dict[str, asyncio.Future[bool]] = {}
        self._tasks = TaskOwner()

    def start(self) -> None:
        """Begin to renew."""
        self._tasks.start(self._renew_for_ever(), name="quota leases")

    async def reserve(self, reservation: Reservation) -> RateLimits:
        """Reserve from all limits, or from none, and renew the lease from now on.

        Raises:
            HeadraceError: `rate_limited` or `quota_exceeded`, a `QuotaRefusedError` that says where the caller stands;
                `accounts_unavailable`: neither the store nor the ledger knows what was used.
        """
        try:
            return await self._reserve(reservation)
        except asyncio.CancelledError:
            # The store may have reserved it, and nobody will settle it.
            end = [(reservation.tenant_id, reservation.request_id, Amount())]
            self._tasks.start(self.settle_for(self.owner, end), name=f"give back {reservation.request_id}")
            raise

    async def _reserve(self, reservation: Reservation) -> RateLimits:
        for _ in range(TRIES):
            match await self._ask(reservation):
                case Granted(rate_limits=rate_limits):
                    self._leases[reservation.request_id] = reservation
                    return rate_limits
                case Refused() as refused:
                    for observer in self._observers:
                        observer.reservation_refused(refused.kind)
                    raise to_error(refused, wanted_tokens=reservation.estimate.tokens)
                case Unseeded(counters=counters):
                    await self._seed(reservation.tenant_id, counters)
        raise _unavailable("the quotas could not be read")

    async def take_over(self, reservation: Reservation) -> None:
        """Hold the lease of a generation that goes on here, whatever the limits say."""
        self._leases[reservation.request_id] = reservation
        try:
            # A lease that is held goes over to whoever reserves it again.
            verdict = await self._store.reserve(reservation)
        except QuotaUnavailableError:
            return
        if not isinstance(verdict, Granted):
            await self._renew([reservation])

    async def settle(self, request_id: str, used: Amount) -> None:
        """Replace a reservation of ours by what was used, unless it was settled before, or never made."""
        lease = self._leases.pop(request_id, None)
        if lease is None:
            return
        ending = self._ending[request_id] = asyncio.get_running_loop().create_future()
        arrived = False
        try:
            arrived = await self._settle(self.owner, [(lease.tenant_id, request_id, used)])
        finally:
            del self._ending[request_id]
            ending.set_result(arrived)

    async def settle_for(self, owner: str, ends: Sequence[tuple[str, str, Amount]]) -> None:
        """Settle for a replica that is gone.

        Args:
            owner: the replica.
            ends: tenant, request and what was used.
        """
        await self._settle(owner, ends)

    async def _settle(self, owner: str, ends: Sequence[tuple[str, str, Amount]]) -> bool:
        """Settle, and tell whether that arrived."""
        settlements = [
            Settlement(request_id=request_id, tenant_id=tenant_id, owner=owner, used=used)
            for tenant_id, request_id, used in ends
        ]
        try:
            await self._store.settle(settlements)
        except QuotaUnavailableError:
            # The leases expire, and stay reserved until then: nobody is given more than the limits.
            return False
        return True

    async def close(self) -> None:
        """Stop renewing, and close the store."""
        await self._tasks.close()
        await self._store.close()

    async def _ask(self, reservation: Reservation) -> Granted | Refused | Unseeded:
        try:
            return await self._store.reserve(reservation)
        except QuotaUnavailableError:
            raise _unavailable("the quotas can't be read") from None

    async def _seed(self, tenant_id: str, counters: Sequence[Counter]) -> None:
        used = await self._baseline.used(counters)
        try:
            await self._store.seed(tenant_id, list(zip(counters, used, strict=True)))
        except QuotaUnavailableError:
            raise _unavailable("the quotas can't be read") from None

    async def _renew_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._pause_seconds)
            await self.renew_now()

    async def renew_now(self) -> None:
        """Renew every lease, in one round trip."""
        await self._renew(list(self._leases.values()))

    async def _renew(self, leases: Sequence[Reservation]) -> None:
        try:
            await self._store.renew(leases)
        except QuotaUnavailableError:
            return
        ended = [lease for lease in leases if lease.request_id not in self._leases]
        if ended:
            await self._let_go(ended)

    async def _let_go(self, ended: Sequence[Reservation]) -> None:
        """End the leases of what ended while it was renewed: the store may have taken one again after its end.

        What was used is settled first: were it overtaken by this, which says that nothing was, it would not be charged.
        """
        on_their_way = {name: self._ending[name] for lease in ended if (name := lease.request_id) in self._ending}
        if on_their_way:
            await asyncio.wait(on_their_way.values())
        failed = {name for name, ending in on_their_way.items() if not ending.result()}
        ends = [(lease.tenant_id, lease.request_id, Amount()) for lease in ended if lease.request_id not in failed]
        if ends:
            await self.settle_for(self.owner, ends)


def _unavailable(message: str) -> HeadraceError:
    return HeadraceError(ErrorCode.ACCOUNTS_UNAVAILABLE, f"{message}; try again soon")
