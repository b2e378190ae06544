"""What is left of limits, for those who have them and for those who set them. Reading it changes nothing."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal, Protocol

from msgspec import Struct, structs

from headrace.accounts.base import LimitsDirectory
from headrace.accounts.limits import NO_LIMITS, CallerLimits, KeyLimits
from headrace.accounts.quota.base import Amount, Counter, Peeked, QuotaStore, QuotaUnavailableError, Spent
from headrace.accounts.quota.periods import bounds_of, day_of, month_of
from headrace.accounts.quota.quota import Baseline
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError

Owner = Literal["key", "tenant"]


class LimitState(Struct, frozen=True, kw_only=True):
    """One limit, and what is left of it.

    Attributes:
        limit: which one, by its name in `KeyLimits`.
        owner: whose it is: the key's own, or the one that all keys of the tenant share.
        size: how much may be used.
        used: how much was used; of a limit of a minute, and of generations at once, what is reserved too.
        reserved: how much may still be used by what runs now; 0 where `used` has it in it.
        left: how much may be reserved now.
        resets_at: when nothing of it is taken any more, if nothing more is: the beginning of the next day or month of
            UTC, or the end of the last minute; None where nothing is taken, and of generations at once.
    """

    limit: str
    owner: Owner
    size: int
    used: int
    reserved: int
    left: int
    resets_at: datetime | None


class LimitsReport(Protocol):
    """Knows what is left of limits."""

    async def of_caller(self, caller: Caller) -> tuple[LimitState, ...]:
        """Return the limits of a caller: its key's, then its tenant's; none of one without a key of a tenant.

        Raises:
            HeadraceError: `accounts_unavailable`.
        """
        ...

    async def of_key(self, tenant_id: str, key_id: str, limits: KeyLimits) -> tuple[LimitState, ...]:
        """Return the own limits of a key.

        Raises:
            HeadraceError: `accounts_unavailable`.
        """
        ...

    async def of_tenant(self, tenant_id: str, limits: KeyLimits) -> tuple[LimitState, ...]:
        """Return the limits that the keys of a tenant share.

        Raises:
            HeadraceError: `accounts_unavailable`.
        """
        ...


class QuotaLimitsReport:
    """A `LimitsReport` of a store of quotas.

    Args:
        store: where everything is counted.
        baseline: knows what budgets have used, where the store does not.
        limits: what each caller may use.
        clock: Unix seconds.
    """

    def __init__(
        self,
        store: QuotaStore,
        *,
        baseline: Baseline,
        limits: LimitsDirectory,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._baseline = baseline
        self._limits = limits
        self._clock = clock

    async def of_caller(self, caller: Caller) -> tuple[LimitState, ...]:
        """See `LimitsReport`."""
        if not caller.tenant_id:
            return ()
        limits: CallerLimits = await self._limits.limits_of(caller)
        return (
            *await self.of_key(caller.tenant_id, caller.key_id, limits.key),
            *await self.of_tenant(caller.tenant_id, limits.tenant),
        )

    async def of_key(self, tenant_id: str, key_id: str, limits: KeyLimits) -> tuple[LimitState, ...]:
        """See `LimitsReport`."""
        return await self._of(tenant_id, "key", key_id, limits)

    async def of_tenant(self, tenant_id: str, limits: KeyLimits) -> tuple[LimitState, ...]:
        """See `LimitsReport`."""
        return await self._of(tenant_id, "tenant", tenant_id, limits)

    async def _of(self, tenant_id: str, owner: Owner, owner_id: str, limits: KeyLimits) -> tuple[LimitState, ...]:
        if limits == NO_LIMITS:
            return ()
        subject, now = f"{owner}:{owner_id}", self._clock()
        try:
            peeked = await self._store.peek(tenant_id, subject)
        except QuotaUnavailableError:
            raise HeadraceError(ErrorCode.ACCOUNTS_UNAVAILABLE, "the quotas can't be read; try again soon") from None
        return list_limits(owner, limits, await self._completed(peeked, subject, limits, now), now=now)

    async def _completed(self, peeked: Peeked, subject: str, limits: KeyLimits, now: float) -> Peeked:
        """Return the same with what the ledger knows, where the store knows nothing of a budget that is limited."""
        asks_month = limits.tokens_per_month is not None or limits.cost_per_month_micros is not None
        missing: dict[str, Counter] = {}
        if limits.tokens_per_day is not None and peeked.day.used is None:
            missing["day"] = Counter(subject, day_of(now))
        if asks_month and peeked.month.used is None:
            missing["month"] = Counter(subject, month_of(now))
        if not missing:
            return peeked
        known = dict(zip(missing, await self._baseline.used(list(missing.values())), strict=True))
        return structs.replace(
            peeked, day=_fill(peeked.day, known.get("day")), month=_fill(peeked.month, known.get("month"))
        )


def _fill(spent: Spent, used: Amount | None) -> Spent:
    return spent if used is None else structs.replace(spent, used=used)


def list_limits(owner: Owner, limits: KeyLimits, peeked: Peeked, *, now: float) -> tuple[LimitState, ...]:
    """Return the state of each limit that there is.

    Args:
        owner: whose they are.
        limits: their sizes.
        peeked: what is taken.
        now: Unix seconds.
    """
    day_end, month_end = bounds_of(day_of(now))[1], bounds_of(month_of(now))[1]
    day, month = peeked.day, peeked.month
    day_used, month_used = day.used or Amount(), month.used or Amount()
    rows: Sequence[tuple[str, int | None, int, int, float | None]] = (
        ("requests_per_minute", limits.requests_per_minute, peeked.requests, 0, now + peeked.requests_reset_seconds),
        ("tokens_per_minute", limits.tokens_per_minute, peeked.tokens, 0, now + peeked.tokens_reset_seconds),
        ("concurrent_generations", limits.concurrent_generations, peeked.running, 0, None),
        ("tokens_per_day", limits.tokens_per_day, day_used.tokens, day.reserved.tokens, day_end),
        ("tokens_per_month", limits.tokens_per_month, month_used.tokens, month.reserved.tokens, month_end),
        ("cost_per_month_micros", limits.cost_per_month_micros, month_used.cost, month.reserved.cost, month_end),
    )
    return tuple(
        LimitState(
            limit=name,
            owner=owner,
            size=size,
            used=used,
            reserved=reserved,
            left=max(0, size - used - reserved),
            resets_at=None if end is None or end == now else datetime.fromtimestamp(end, UTC),
        )
        for name, size, used, reserved, end in rows
        if size is not None
    )
