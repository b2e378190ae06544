"""What a key, or a tenant with all its keys, may use. Stored and served here; the metering enforces it."""

from typing import Annotated

from msgspec import Meta, Struct

# The largest whole number that every reader of JSON keeps.
MAX_LIMIT = 2**53
Positive = Annotated[int, Meta(ge=1, le=MAX_LIMIT)]


class KeyLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The limits of a key or of a tenant; None is no limit. Stored as JSON: append only, with a default.

    Attributes:
        requests_per_minute: requests in a minute.
        tokens_per_minute: input and output tokens in a minute.
        concurrent_generations: generations that run or wait at once.
        tokens_per_day: tokens in a day of UTC.
        tokens_per_month: tokens in a month of UTC.
        cost_per_month_micros: cost in a month of UTC, in millionths of the currency that the prices are in.
    """

    requests_per_minute: Positive | None = None
    tokens_per_minute: Positive | None = None
    concurrent_generations: Positive | None = None
    tokens_per_day: Positive | None = None
    tokens_per_month: Positive | None = None
    cost_per_month_micros: Positive | None = None


NO_LIMITS = KeyLimits()


class CallerLimits(Struct, frozen=True, kw_only=True):
    """Both limits that a request must keep: those of its key, and those that the tenant's keys share."""

    key: KeyLimits = NO_LIMITS
    tenant: KeyLimits = NO_LIMITS


UNLIMITED = CallerLimits()
