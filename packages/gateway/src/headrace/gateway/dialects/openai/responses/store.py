"""Where responses are kept, to be fetched, continued and deleted by their ids."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

# What a record takes beside its own bytes.
_OVERHEAD_BYTES = 512


class StoredResponse(Struct, frozen=True, kw_only=True):
    """A response as it is kept: bytes, so that its size is known and nobody can change it.

    Attributes:
        id: its id.
        response: the response, JSON.
        items: the whole conversation that it answers to, JSON, its own input last.
        tenant_id: whose it is; nobody else is told of it.
        local_only: nothing of it leaves for an outside provider, nor does a call that refers to it.
        is_open: it had not ended; what became of it is in its retained generation.
    """

    id: str
    response: bytes
    items: bytes
    tenant_id: str = ""
    local_only: bool = False
    is_open: bool = False

    @property
    def size_bytes(self) -> int:
        """What it takes to keep it."""
        return len(self.response) + len(self.items) + _OVERHEAD_BYTES


class ResponseStore(Protocol):
    """Keeps responses for a while; it is bounded, and may forget any of them before their time.

    One that others share raises HeadraceError, `broker_unavailable`, where it can't be reached.
    """

    async def put(self, record: StoredResponse) -> None:
        """Keep a response, in place of an older one of its id; what is too large to be kept is forgotten at once."""
        ...

    async def replace(self, record: StoredResponse) -> None:
        """Keep a response in place of an older one of its id, if that is still there: what was deleted stays so."""
        ...

    async def get(self, response_id: str) -> StoredResponse | None:
        """Return a response, or None where it is not kept any more, or never was."""
        ...

    async def delete(self, response_id: str) -> bool:
        """Forget a response; tell whether it was there."""
        ...


class MemoryResponseStore:
    """A `ResponseStore` in the memory of this process; the oldest go first.

    Args:
        max_bytes: most that it holds; 0 keeps nothing.
        max_count: most responses that it holds.
        max_seconds: how long it keeps one.
        clock: the time, in seconds.
    """

    def __init__(
        self, *, max_bytes: int, max_count: int, max_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._max_bytes = max_bytes
        self._max_count = max_count
        self._max_seconds = max_seconds
        self._clock = clock
        self._records: OrderedDict[str, tuple[float, StoredResponse]] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """What is held now."""
        return self._bytes

    async def put(self, record: StoredResponse) -> None:
        """Keep a response; see `ResponseStore`."""
        self._forget(record.id)
        if record.size_bytes > self._max_bytes:
            return
        self._records[record.id] = (self._clock() + self._max_seconds, record)
        self._bytes += record.size_bytes
        self._forget_expired()
        while self._bytes > self._max_bytes or len(self._records) > self._max_count:
            self._forget(next(iter(self._records)))

    async def replace(self, record: StoredResponse) -> None:
        """Keep a response in place of what it was before; see `ResponseStore`."""
        if await self.get(record.id) is not None:
            await self.put(record)

    async def get(self, response_id: str) -> StoredResponse | None:
        """Return a response; see `ResponseStore`."""
        self._forget_expired()
        found = self._records.get(response_id)
        return None if found is None else found[1]

    async def delete(self, response_id: str) -> bool:
        """Forget a response; see `ResponseStore`."""
        self._forget_expired()
        return self._forget(response_id)

    def _forget_expired(self) -> None:
        now = self._clock()
        while self._records:
            response_id, (expires_at, _) = next(iter(self._records.items()))
            if expires_at > now:
                return
            self._forget(response_id)

    def _forget(self, response_id: str) -> bool:
        found = self._records.pop(response_id, None)
        if found is None:
            return False
        self._bytes -= found[1].size_bytes
        return True
