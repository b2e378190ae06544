"""Whether a reservation fits, as a function of what is taken. The Redis script decides in the same order."""

from collections.abc import Sequence

from msgspec import Struct

from headrace.accounts.limits import KeyLimits
from headrace.accounts.quota.base import Amount, Counter, LimitKind, Subject
from headrace.accounts.quota.periods import day_of, month_of
from headrace.schema.caller import RateLimits

CONCURRENT_RETRY_SECONDS = 1.0
"""Nobody knows when a generation ends: another try is worth it soon."""


class Taken(Struct, kw_only=True):
    """What a subject has taken, reserved and used together.

    Attributes:
        running: leases that are held.
        requests: of the last minute.
        tokens: of the last minute.
        day_tokens: of this day.
        month: of this month.
    """

    running: int
    requests: int
    tokens: int
    day_tokens: int
    month: Amount


def find_excess(limits: KeyLimits, taken: Taken, estimate: Amount) -> tuple[LimitKind, int, int] | None:
    """Return the first limit that a reservation would exceed, what it wants of it, and the limit; None if it fits."""
    for kind, limit, has, wants in (
        (LimitKind.CONCURRENT, limits.concurrent_generations, taken.running, 1),
        (LimitKind.REQUESTS_PER_MINUTE, limits.requests_per_minute, taken.requests, 1),
        (LimitKind.TOKENS_PER_MINUTE, limits.tokens_per_minute, taken.tokens, estimate.tokens),
        (LimitKind.TOKENS_PER_DAY, limits.tokens_per_day, taken.day_tokens, estimate.tokens),
        (LimitKind.TOKENS_PER_MONTH, limits.tokens_per_month, taken.month.tokens, estimate.tokens),
        (LimitKind.COST_PER_MONTH, limits.cost_per_month_micros, taken.month.cost, estimate.cost),
    ):
        if limit is not None and has + wants > limit:
            return kind, wants, limit
    return None


def needed_counters(subjects: Sequence[Subject], now: float) -> list[Counter]:
    """Return the counters without which the limits of these subjects can't be checked."""
    day, month = day_of(now), month_of(now)
    needed: list[Counter] = []
    for subject in subjects:
        limits = subject.limits
        if limits.tokens_per_day is not None:
            needed.append(Counter(subject.name, day))
        if limits.tokens_per_month is not None or limits.cost_per_month_micros is not None:
            needed.append(Counter(subject.name, month))
    return needed


class MinuteStanding(Struct, frozen=True, kw_only=True):
    """Where a subject stands in the last minute.

    Attributes:
        limits: what it may use.
        requests: taken of them.
        requests_reset_seconds: until none is taken.
        tokens: taken of them.
        tokens_reset_seconds: until none is taken.
    """

    limits: KeyLimits
    requests: int
    requests_reset_seconds: float
    tokens: int
    tokens_reset_seconds: float


def to_rate_limits(standings: Sequence[MinuteStanding]) -> RateLimits:
    """Return what the client is told: for requests and for tokens the subject with the least left."""
    requests = min(
        (
            (
                max(0, each.limits.requests_per_minute - each.requests),
                each.limits.requests_per_minute,
                each.requests_reset_seconds,
            )
            for each in standings
            if each.limits.requests_per_minute is not None
        ),
        default=None,
    )
    tokens = min(
        (
            (
                max(0, each.limits.tokens_per_minute - each.tokens),
                each.limits.tokens_per_minute,
                each.tokens_reset_seconds,
            )
            for each in standings
            if each.limits.tokens_per_minute is not None
        ),
        default=None,
    )
    remaining_requests, limit_requests, reset_requests = requests or (0, None, 0.0)
    remaining_tokens, limit_tokens, reset_tokens = tokens or (0, None, 0.0)
    return RateLimits(
        limit_requests=limit_requests,
        remaining_requests=remaining_requests,
        reset_requests_seconds=reset_requests,
        limit_tokens=limit_tokens,
        remaining_tokens=remaining_tokens,
        reset_tokens_seconds=reset_tokens,
    )
