"""What a store of quotas must do. Memory and Redis pass one suite."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from headrace.accounts.limits import KeyLimits
from headrace.schema.caller import RateLimits


class LimitKind(StrEnum):
    """Which limit, in the words of metrics and messages; checked in this order, the key's before the tenant's."""

    CONCURRENT = "concurrent"
    REQUESTS_PER_MINUTE = "requests_per_minute"
    TOKENS_PER_MINUTE = "tokens_per_minute"
    TOKENS_PER_DAY = "tokens_per_day"
    TOKENS_PER_MONTH = "tokens_per_month"
    COST_PER_MONTH = "cost_per_month"


class QuotaUnavailableError(Exception):
    """The store does not answer."""


class Amount(Struct, frozen=True):
    """Something used, or to be used.

    Attributes:
        tokens: of prompts and answers together.
        cost: in millionths of the currency.
    """

    tokens: int = 0
    cost: int = 0


class Subject(Struct, frozen=True, kw_only=True):
    """Who is limited: a key, or a tenant.

    Attributes:
        name: `key:ID` or `tenant:ID`; nobody else's, whatever the tenant.
        limits: what it may use.
    """

    name: str
    limits: KeyLimits


class Reservation(Struct, frozen=True, kw_only=True):
    """A request for a part of several quotas at once, and from then on a lease of it.

    Attributes:
        request_id: the generation.
        tenant_id: whose it is; what belongs to one tenant is kept together.
        owner: the replica that renews it; another one that takes it over becomes the owner.
        subjects: whose limits it counts against; the key before the tenant.
        estimate: as much as the generation may use.
    """

    request_id: str
    tenant_id: str
    owner: str
    subjects: tuple[Subject, ...]
    estimate: Amount


class Settlement(Struct, frozen=True, kw_only=True):
    """The end of a lease.

    Attributes:
        request_id: the generation.
        tenant_id: whose it is.
        owner: who held the lease; where another one has taken it over nothing happens.
        used: what it really used, more or less than was reserved.
    """

    request_id: str
    tenant_id: str
    owner: str
    used: Amount


class Counter(Struct, frozen=True):
    """The counter of one budget period.

    Attributes:
        subject: the name of who is limited.
        period: `YYYYMMDD` for a day, `YYYYMM` for a month, UTC.
    """

    subject: str
    period: str


class Granted(Struct, frozen=True):
    """Everything was reserved.

    Attributes:
        rate_limits: where the caller stands now: of its subjects the one with the least left.
    """

    rate_limits: RateLimits


class Refused(Struct, frozen=True, kw_only=True):
    """Nothing was reserved.

    Attributes:
        kind: the limit that is in the way.
        subject: whose limit it is.
        limit: how much it is.
        retry_after_seconds: when the same request may be taken; None if it never may, because it is larger than the
            whole limit.
        rate_limits: where the caller stands.
    """

    kind: LimitKind
    subject: str
    limit: int
    retry_after_seconds: float | None
    rate_limits: RateLimits


class Unseeded(Struct, frozen=True):
    """Nothing was reserved: the store does not know these counters. Call `seed`, and try again.

    Attributes:
        counters: those that a limit needs.
    """

    counters: tuple[Counter, ...]


Verdict = Granted | Refused | Unseeded


class Standing(Struct, frozen=True, kw_only=True):
    """How much of its limits a subject has taken.

    Attributes:
        running: leases that are held.
        requests: of the last minute.
        tokens: of the last minute, reserved and used.
        day: of this day, reserved and used; None where nobody counts it.
        month: of this month, reserved and used; None where nobody counts it.
    """

    running: int = 0
    requests: int = 0
    tokens: int = 0
    day: Amount | None = None
    month: Amount | None = None


class Spent(Struct, frozen=True, kw_only=True):
    """What is taken of the budgets of one period.

    Attributes:
        used: by what has ended; None where the store does not know it, and the ledger has to be asked.
        reserved: by what has not.
    """

    used: Amount | None = None
    reserved: Amount = Amount()


class Peeked(Struct, frozen=True, kw_only=True):
    """What a subject has taken, without a change.

    Attributes:
        running: leases that are held.
        requests: of the last minute.
        requests_reset_seconds: until none is taken.
        tokens: of the last minute, reserved and used.
        tokens_reset_seconds: until none is taken.
        day: of this day.
        month: of this month.
    """

    running: int = 0
    requests: int = 0
    requests_reset_seconds: float = 0.0
    tokens: int = 0
    tokens_reset_seconds: float = 0.0
    day: Spent = Spent()
    month: Spent = Spent()


class QuotaStore(Protocol):
    """Counts what subjects reserve and use.

    A minute is any minute: what was taken counts for 60 to 65 seconds. Budgets are of UTC days and months, and a
    generation belongs to those in which it began. A lease that is not renewed for `lease_seconds` is expired: it no
    longer counts as running, while the tokens it reserved stay reserved until it is settled, or for a day: then they
    count as used.
    """

    async def reserve(self, reservation: Reservation) -> Verdict:
        """Reserve from all limits, or from none. One that holds a lease already gets it again, for its new owner.

        Raises:
            QuotaUnavailableError: the store does not answer.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Replace reservations by what was used. Where there is no lease nothing happens: it was settled before.

        Raises:
            QuotaUnavailableError: the store does not answer; some may have been settled.
        """
        ...

    async def renew(self, leases: Sequence[Reservation]) -> None:
        """Hold on to leases. One that the store has lost is taken again, whatever the limits say.

        Raises:
            QuotaUnavailableError: the store does not answer; some may have been renewed.
        """
        ...

    async def seed(self, tenant_id: str, used: Sequence[tuple[Counter, Amount]]) -> None:
        """Say what budgets have used, as the ledger knows it; a counter that says more stays as it is.

        Raises:
            QuotaUnavailableError: the store does not answer.
        """
        ...

    async def look(self, tenant_id: str, subject: str) -> Standing:
        """Return where a subject stands.

        Raises:
            QuotaUnavailableError: the store does not answer.
        """
        ...

    async def peek(self, tenant_id: str, subject: str) -> Peeked:
        """Return what a subject has taken, and change nothing: not even what is over.

        Raises:
            QuotaUnavailableError: the store does not answer.
        """
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...
