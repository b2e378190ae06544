"""Small values that every process finds by their names, for a while: the contract, and memory; Redis is its own."""

import time
from collections.abc import Callable
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


class MemoryRecords:
    """`Records` of one process, for tests and for gateways that share it. It is bounded by nothing but time.

    Args:
        clock: the time, in seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._values: dict[str, tuple[float, bytes]] = {}

    async def put(self, name: str, value: bytes, *, seconds: float, only_if_there: bool = False) -> None:
        """Keep a value; see `Records`."""
        if not only_if_there or await self.get(name) is not None:
            self._values[name] = (self._clock() + seconds, value)

    async def get(self, name: str) -> bytes | None:
        """Return a value; see `Records`."""
        self._forget_old()
        found = self._values.get(name)
        return None if found is None else found[1]

    async def delete(self, name: str) -> bool:
        """Forget a value; see `Records`."""
        self._forget_old()
        return self._values.pop(name, None) is not None

    def _forget_old(self) -> None:
        now = self._clock()
        for name in [name for name, (until, _) in self._values.items() if until <= now]:
            del self._values[name]
