"""`CachedDirectory`: keys from memory, and from the database where they are not there."""

import asyncio
import hmac
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol

from headrace.accounts.directory.lookup import Changed, KnownKey, Loaded
from headrace.accounts.directory.memory import KeyMemory
from headrace.accounts.limits import UNLIMITED, CallerLimits
from headrace.accounts.secrets import Pepper, find_prefix
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.transport.tasks import TaskOwner

MAX_LOADS = 256
"""Most keys that are looked up at once; a further one is refused, so that made-up keys can't fill the memory."""


class KeyLookup(Protocol):
    """Reads keys and changes, wherever they are."""

    async def load(self, prefix: str) -> Loaded:
        """Return the key of a prefix; raises HeadraceError with `accounts_unavailable`."""
        ...

    async def load_id(self, key_id: str) -> Loaded:
        """Return the key of an id; raises HeadraceError with `accounts_unavailable`."""
        ...

    async def read_changes(self, seen: int | None) -> Changed:
        """Return what has changed since a number; raises HeadraceError with `accounts_unavailable`."""
        ...


class CachedDirectory:
    """Knows callers and their limits. Begin with `start`, end with `close`.

    Args:
        lookup: reads the database.
        pepper: for the hashes.
        cached_keys: most keys to know by heart.
        poll_seconds: how often to ask for changes.
        stale_seconds: how long to trust what is known by heart while the database does not answer.
        wall: Unix time in seconds, by which keys expire.
        monotonic: seconds, by which knowledge grows old.
    """

    def __init__(
        self,
        lookup: KeyLookup,
        pepper: Pepper,
        *,
        cached_keys: int,
        poll_seconds: float,
        stale_seconds: float,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lookup = lookup
        self._pepper = pepper
        self._memory = KeyMemory(cached_keys)
        self._poll_seconds = poll_seconds
        self._stale_seconds = stale_seconds
        self._wall = wall
        self._monotonic = monotonic
        self._fresh_at = -math.inf
        self._wake = asyncio.Event()
        self._tasks = TaskOwner()
        self._loads: dict[str, asyncio.Task[Loaded | HeadraceError]] = {}

    def start(self) -> None:
        """Begin to watch for changes."""
        self._tasks.start(self._watch(), name="accounts watch")

    async def close(self) -> None:
        """Stop to watch."""
        await self._tasks.close()

    def look_now(self) -> None:
        """Ask for changes without waiting for the next poll."""
        self._wake.set()

    async def find(self, key: str) -> Caller | None:
        """See `CallerDirectory`."""
        given = self._pepper.hash(key)
        prefix = find_prefix(key)
        known = None if prefix is None else await self._known(prefix)
        # A prefix that is nobody's is compared too, with what nothing has as its hash.
        fits = hmac.compare_digest(given, known.hash if known else bytes(len(given)))
        return known.caller if known and fits and self._works(known) else None

    async def limits_of(self, caller: Caller) -> CallerLimits:
        """See `LimitsDirectory`."""
        if not caller.key_id:
            return UNLIMITED
        known = self._memory.find_id(caller.key_id) if self._is_trusted else None
        if known is None:
            known = (await self._load(caller.key_id, lambda: self._lookup.load_id(caller.key_id))).key
        # A key that was deleted since its request came in had no more limits than a new one would have.
        return UNLIMITED if known is None else known.limits

    async def check(self) -> None:
        """Raise HeadraceError, with the reason, once the keys that are known by heart are too old to be trusted."""
        if not self._is_trusted:
            raise HeadraceError(
                ErrorCode.ACCOUNTS_UNAVAILABLE,
                f"the database of the accounts has not answered for more than {self._stale_seconds:g} s",
            )

    @property
    def _is_trusted(self) -> bool:
        return self._monotonic() - self._fresh_at <= self._stale_seconds

    def _works(self, key: KnownKey) -> bool:
        return key.works and (key.expires_at is None or self._wall() < key.expires_at)

    async def _known(self, prefix: str) -> KnownKey | None:
        if self._is_trusted:
            if (known := self._memory.find(prefix)) is not None:
                return known
            if self._memory.is_unknown(prefix, now=self._monotonic()):
                return None
        return (await self._load(prefix, lambda: self._lookup.load(prefix))).key

    async def _load(self, name: str, load: Callable[[], Coroutine[Any, Any, Loaded]]) -> Loaded:
        """Load once for all who ask at the same time, whoever of them leaves."""
        task = self._loads.get(name)
        if task is None:
            if len(self._loads) >= MAX_LOADS:
                raise HeadraceError(ErrorCode.ACCOUNTS_UNAVAILABLE, "too many unknown API keys come in; try again soon")
            task = self._tasks.start(self._load_once(name, load()), name="accounts load")
            self._loads[name] = task
        loaded = await asyncio.shield(task)
        if isinstance(loaded, HeadraceError):
            raise loaded
        return loaded

    async def _load_once(self, name: str, load: Awaitable[Loaded]) -> Loaded | HeadraceError:
        try:
            loaded = await load
            self._memory.remember(name, loaded, now=self._monotonic())
        except HeadraceError as error:
            # For those who wait, each of whom raises it: the task itself has not failed.
            return error
        else:
            return loaded
        finally:
            del self._loads[name]

    async def _watch(self) -> None:
        while True:
            began = self._monotonic()
            self._wake.clear()
            try:
                self._memory.take(await self._lookup.read_changes(self._memory.number))
                self._fresh_at = began
            except HeadraceError:
                # Said by the database, once. What is known grows old until it answers again.
                pass
            try:
                async with asyncio.timeout(self._poll_seconds):
                    await self._wake.wait()
            except TimeoutError:
                continue
