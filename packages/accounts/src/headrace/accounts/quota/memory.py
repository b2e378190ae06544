"""Quotas of one process: for `headrace serve`, for tests, and for as long as Redis is away."""

import time
from collections.abc import Callable, Sequence

from msgspec import Struct, field

from headrace.accounts.quota.base import (
    Amount,
    Counter,
    Granted,
    LimitKind,
    Peeked,
    Refused,
    Reservation,
    Settlement,
    Spent,
    Standing,
    Subject,
    Unseeded,
    Verdict,
)
from headrace.accounts.quota.deciding import (
    CONCURRENT_RETRY_SECONDS,
    MinuteStanding,
    Taken,
    find_excess,
    needed_counters,
    to_rate_limits,
)
from headrace.accounts.quota.periods import DAY_SECONDS, bounds_of, day_of, month_of, seconds_left
from headrace.accounts.quota.windows import Window, step_of
from headrace.schema.caller import RateLimits

LEASE_SECONDS = 30.0
EXPIRED_SECONDS = float(DAY_SECONDS)
"""How long the reservation of an expired lease waits for somebody who knows what was used."""
EXPIRY_STEP_SECONDS = 0.5
"""All leases are looked through this often at most."""


class _Budget(Struct):
    """One period of one subject; `used` is None until it is seeded."""

    used: Amount | None = None
    reserved: Amount = Amount()

    @property
    def taken(self) -> Amount:
        return _add(self.used or Amount(), self.reserved)


class _Lease(Struct):
    reservation: Reservation
    step: int
    day: str
    month: str
    until: float
    is_active: bool = True

    def counts_against(self, subject: str) -> bool:
        return any(each.name == subject for each in self.reservation.subjects)


class _Account(Struct):
    """What is counted for one subject."""

    running: int = 0
    requests: Window = field(default_factory=Window)
    tokens: Window = field(default_factory=Window)
    budgets: dict[str, _Budget] = field(default_factory=dict[str, _Budget])

    def budget(self, period: str) -> _Budget:
        return self.budgets.setdefault(period, _Budget())

    def spent(self, period: str) -> Spent:
        budget = self.budgets.get(period) or _Budget()
        return Spent(used=budget.used, reserved=budget.reserved)


class MemoryQuotaStore:
    """A `QuotaStore` in this process.

    Args:
        lease_seconds: how long a lease lives without being renewed.
        clock: Unix seconds.
    """

    def __init__(self, *, lease_seconds: float = LEASE_SECONDS, clock: Callable[[], float] = time.time) -> None:
        self._lease_seconds = lease_seconds
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self._leases: dict[str, _Lease] = {}
        self._look_again_at = 0.0

    async def reserve(self, reservation: Reservation) -> Verdict:
        """Reserve from all limits, or from none; see `QuotaStore`."""
        now = self._clock()
        self._expire(now)
        lease = self._leases.get(reservation.request_id)
        if lease is not None:
            self._hold(lease, reservation.owner, now)
            return Granted(self._rate_limits(reservation.subjects, now))
        missing = self._missing(reservation.subjects, now)
        if missing:
            return Unseeded(missing)
        for subject in reservation.subjects:
            excess = find_excess(subject.limits, self._taken(subject.name, now), reservation.estimate)
            if excess is not None:
                return self._refuse(reservation, subject, excess, now)
        self._take(reservation, step_of(now), now)
        return Granted(self._rate_limits(reservation.subjects, now))

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Replace reservations by what was used; see `QuotaStore`."""
        self._expire(self._clock())
        for settlement in settlements:
            lease = self._leases.get(settlement.request_id)
            if lease is not None and lease.reservation.owner == settlement.owner:
                self._end(lease, settlement.used)

    async def renew(self, leases: Sequence[Reservation]) -> None:
        """Hold on to leases; see `QuotaStore`."""
        now = self._clock()
        self._expire(now)
        for reservation in leases:
            lease = self._leases.get(reservation.request_id)
            if lease is None:
                self._take(reservation, 0, now)
            elif lease.reservation.owner == reservation.owner:
                self._hold(lease, reservation.owner, now)

    async def seed(self, tenant_id: str, used: Sequence[tuple[Counter, Amount]]) -> None:  # noqa: ARG002 - of the contract
        """Say what budgets have used; see `QuotaStore`."""
        for counter, amount in used:
            budget = self._account(counter.subject).budget(counter.period)
            known = budget.used or Amount()
            budget.used = Amount(max(known.tokens, amount.tokens), max(known.cost, amount.cost))

    def forget_budgets(self) -> None:
        """Know no budget until it is seeded again."""
        for account in self._accounts.values():
            for budget in account.budgets.values():
                budget.used = None

    async def look(self, tenant_id: str, subject: str) -> Standing:  # noqa: ARG002 - of the contract
        """Return where a subject stands; see `QuotaStore`."""
        now = self._clock()
        self._expire(now)
        account = self._account(subject)
        day, month = account.budgets.get(day_of(now)), account.budgets.get(month_of(now))
        return Standing(
            running=account.running,
            requests=account.requests.total(now),
            tokens=account.tokens.total(now),
            day=day.taken if day is not None and day.used is not None else None,
            month=month.taken if month is not None and month.used is not None else None,
        )

    async def peek(self, tenant_id: str, subject: str) -> Peeked:  # noqa: ARG002 - of the contract
        """Return what a subject has taken; see `QuotaStore`."""
        now = self._clock()
        account = self._accounts.get(subject) or _Account()
        over = [lease for lease in self._leases.values() if lease.is_active and lease.until <= now]
        return Peeked(
            running=account.running - sum(lease.counts_against(subject) for lease in over),
            requests=account.requests.total(now),
            requests_reset_seconds=account.requests.seconds_until_empty(now),
            tokens=account.tokens.total(now),
            tokens_reset_seconds=account.tokens.seconds_until_empty(now),
            day=account.spent(day_of(now)),
            month=account.spent(month_of(now)),
        )

    async def close(self) -> None:
        """Nothing is open."""

    def _account(self, name: str) -> _Account:
        return self._accounts.setdefault(name, _Account())

    def _missing(self, subjects: Sequence[Subject], now: float) -> tuple[Counter, ...]:
        needed = needed_counters(subjects, now)
        return tuple(
            counter for counter in needed if self._account(counter.subject).budget(counter.period).used is None
        )

    def _taken(self, name: str, now: float) -> Taken:
        account = self._account(name)
        return Taken(
            running=account.running,
            requests=account.requests.total(now),
            tokens=account.tokens.total(now),
            day_tokens=account.budget(day_of(now)).taken.tokens,
            month=account.budget(month_of(now)).taken,
        )

    def _refuse(
        self, reservation: Reservation, subject: Subject, excess: tuple[LimitKind, int, int], now: float
    ) -> Refused:
        kind, wants, limit = excess
        return Refused(
            kind=kind,
            subject=subject.name,
            limit=limit,
            retry_after_seconds=self._wait(subject.name, kind, limit - wants, now) if wants <= limit else None,
            rate_limits=self._rate_limits(reservation.subjects, now),
        )

    def _wait(self, name: str, kind: LimitKind, room: int, now: float) -> float:
        account = self._account(name)
        match kind:
            case LimitKind.CONCURRENT:
                return CONCURRENT_RETRY_SECONDS
            case LimitKind.REQUESTS_PER_MINUTE:
                return account.requests.seconds_until(room, now=now)
            case LimitKind.TOKENS_PER_MINUTE:
                return account.tokens.seconds_until(room, now=now)
            case LimitKind.TOKENS_PER_DAY:
                return seconds_left(day_of(now), now)
            case LimitKind.TOKENS_PER_MONTH | LimitKind.COST_PER_MONTH:
                return seconds_left(month_of(now), now)

    def _rate_limits(self, subjects: Sequence[Subject], now: float) -> RateLimits:
        standings: list[MinuteStanding] = []
        for subject in subjects:
            account = self._account(subject.name)
            standings.append(
                MinuteStanding(
                    limits=subject.limits,
                    requests=account.requests.total(now),
                    requests_reset_seconds=account.requests.seconds_until_empty(now),
                    tokens=account.tokens.total(now),
                    tokens_reset_seconds=account.tokens.seconds_until_empty(now),
                )
            )
        return to_rate_limits(standings)

    def _take(self, reservation: Reservation, step: int, now: float) -> None:
        """Take a lease, whatever the limits say; step 0 counts in no minute."""
        day, month = day_of(now), month_of(now)
        self._leases[reservation.request_id] = _Lease(reservation, step, day, month, now + self._lease_seconds)
        for subject in reservation.subjects:
            account = self._account(subject.name)
            account.running += 1
            account.requests.add(1, step=step, now=now)
            account.tokens.add(reservation.estimate.tokens, step=step, now=now)
            for period in (day, month):
                budget = account.budget(period)
                budget.reserved = _add(budget.reserved, reservation.estimate)

    def _hold(self, lease: _Lease, owner: str, now: float) -> None:
        if not lease.is_active:
            self._count_running(lease, 1)
            lease.is_active = True
        lease.until = now + self._lease_seconds
        if lease.reservation.owner != owner:
            reservation = lease.reservation
            lease.reservation = Reservation(
                request_id=reservation.request_id,
                tenant_id=reservation.tenant_id,
                owner=owner,
                subjects=reservation.subjects,
                estimate=reservation.estimate,
            )

    def _end(self, lease: _Lease, used: Amount) -> None:
        now = self._clock()
        del self._leases[lease.reservation.request_id]
        if lease.is_active:
            self._count_running(lease, -1)
        estimate = lease.reservation.estimate
        for subject in lease.reservation.subjects:
            account = self._account(subject.name)
            account.tokens.add(used.tokens - estimate.tokens, step=lease.step, now=now)
            for period in (lease.day, lease.month):
                budget = account.budget(period)
                budget.reserved = _add(budget.reserved, Amount(-estimate.tokens, -estimate.cost))
                if budget.used is not None:
                    budget.used = _add(budget.used, used)

    def _count_running(self, lease: _Lease, change: int) -> None:
        for subject in lease.reservation.subjects:
            self._account(subject.name).running += change

    def _expire(self, now: float) -> None:
        if now < self._look_again_at:
            return
        self._look_again_at = now + EXPIRY_STEP_SECONDS
        for lease in [lease for lease in self._leases.values() if lease.until <= now]:
            if lease.is_active:
                self._count_running(lease, -1)
                lease.is_active = False
                lease.until = now + EXPIRED_SECONDS
            else:
                self._end(lease, lease.reservation.estimate)
        for account in self._accounts.values():
            for period in [period for period in account.budgets if bounds_of(period)[1] + 2 * DAY_SECONDS < now]:
                del account.budgets[period]


def _add(left: Amount, right: Amount) -> Amount:
    return Amount(left.tokens + right.tokens, left.cost + right.cost)
