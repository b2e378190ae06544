"""Token counts off the wire: a stranger's numbers, by which accounts are settled."""

from typing import Annotated

from msgspec import Meta

MAX_TOKENS = 2**53
WireTokenId = Annotated[int, Meta(ge=-1, le=2**31 - 1)]


def to_count(value: int | None) -> int:
    """Return a count that is one: none is 0, and what is out of range is brought into it."""
    return 0 if value is None else min(max(value, 0), MAX_TOKENS)
