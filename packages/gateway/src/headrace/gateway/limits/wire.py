"""The body of limits."""

from typing import Literal

from msgspec import Struct

from headrace.accounts.quota.remaining import LimitState


class LimitsBody(Struct, frozen=True, kw_only=True):
    """The limits that there are, and what is left of them.

    Attributes:
        object: always the same.
        data: each limit; what has none is not limited.
        currency: what costs are in.
    """

    object: Literal["list"] = "list"
    data: tuple[LimitState, ...]
    currency: str
