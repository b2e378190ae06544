"""Small values that every process finds by their names, for a while: the contract. Redis has it in `redis.records`."""

from typing import Protocol


class RecordsUnavailableError(Exception):
    """The records can't be reached now; the message says why."""


class Records(Protocol):
    """Keeps bytes by name. Every method raises RecordsUnavailableError where the records can't be reached."""

    async def put(self, name: str, value: bytes, *, seconds: float, only_if_there: bool = False) -> None:
        """Keep a value, in place of an older one of its name.

        Args:
            name: what it is found by.
            value: what is kept.
            seconds: how long, from now on.
            only_if_there: keep it only in place of an older one, so that what was deleted meanwhile stays so.
        """
        ...

    async def get(self, name: str) -> bytes | None:
        """Return a value, or None where there is none."""
        ...

    async def delete(self, name: str) -> bool:
        """Forget a value; tell whether it was there."""
        ...
