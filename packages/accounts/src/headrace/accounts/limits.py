"""What a key, or all keys of a tenant together, may use."""

from msgspec import Struct


class KeyLimits(Struct, frozen=True, kw_only=True):
    """The limits of a key or of a tenant. None is no limit.

    Attributes:
        rpm: requests in any minute.
        tpm: tokens in any minute, of prompts and answers together.
        concurrent: generations that run at once.
        tokens_per_day: tokens of a day, UTC.
        tokens_per_month: tokens of a calendar month, UTC.
        cost_per_month: cost of a calendar month, UTC, in millionths of the currency.
    """

    rpm: int | None = None
    tpm: int | None = None
    concurrent: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    cost_per_month: int | None = None


UNLIMITED = KeyLimits()
"""No limit at all."""
