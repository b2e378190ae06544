"""Writes what a process owns into Redis: in batches, with a lease that is renewed, and again after Redis was away."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import structlog
from msgspec import structs
from redis.exceptions import RedisError

from headrace.schema.codec import encode_events
from headrace.transport.redis.retention_reader import encode_entry
from headrace.transport.redis.retention_scripts import (
    ENDED,
    RENEW,
    RUNNING,
    WRITE,
    events_key,
    head_key,
    idempotency_key,
)
from headrace.transport.retention.base import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    RetainedHead,
    RetentionFullError,
    RetentionUnavailableError,
)
from headrace.transport.retention.log import EventLog
from headrace.transport.tasks import TaskOwner

LEASE_MS = int(LEASE_SECONDS * 1000)
PAUSE_SECONDS = 0.25
RELEASE_SECONDS = 2.0

_log = structlog.get_logger("headrace.redis")


class OwnedLog:
    """A generation of ours, and what of it is still to be written.

    Attributes:
        head: as it was opened.
        log: its events.
        waiting: encoded batches that are not in Redis.
        facts: what is to be said of it.
        end: how it ends, once it does: `keep` or `free` says what becomes of its key, `forget` that nothing is kept.
    """

    def __init__(self, head: RetainedHead, log: EventLog) -> None:
        self.head = head
        self.log = log
        self.waiting: list[bytes] = []
        self.facts = b""
        self.end: Literal["", "keep", "free", "forget"] = ""
        self.written = len(log.events)


class RetentionWriter:
    """Owns what a process writes.

    Args:
        client: a connection of its own.
        owner: the name of the process.
        keep_ms: how long a generation is kept after its end.
        max_count: how many are kept.
        on_lost: learns what another process has claimed.
        reopen: puts a generation there that Redis has lost; returns what holds its key already, and then did not.
    """

    def __init__(
        self,
        client: Any,
        *,
        owner: str,
        keep_ms: int,
        max_count: int,
        on_lost: Callable[[OwnedLog], None],
        reopen: Callable[[RetainedHead], Awaitable[str]],
    ) -> None:
        self._client = client
        self._name = owner
        self._keep_ms = keep_ms
        self._max_count = max_count
        self._on_lost = on_lost
        self._reopen = reopen
        self._owned: dict[str, OwnedLog] = {}
        self._dirty: dict[OwnedLog, None] = {}
        self._has_work = asyncio.Event()
        self._busy = asyncio.Lock()
        self._away_until = 0.0
        self._is_away = False

    @property
    def may_claim(self) -> bool:
        """Whether owners that live have had the time to renew, since Redis was away for us and perhaps for them."""
        return not self._is_away and asyncio.get_running_loop().time() >= self._away_until

    def start(self, tasks: TaskOwner) -> None:
        """Begin to write and to renew."""
        tasks.start(self._run(), name="retained writes")
        tasks.start(self._renew(), name="renew leases")

    def own(self, owned: OwnedLog) -> None:
        """Take a generation in."""
        self._owned[owned.log.request_id] = owned

    def find(self, request_id: str) -> OwnedLog | None:
        """Return a generation of ours."""
        return self._owned.get(request_id)

    def get(self, log: EventLog) -> OwnedLog | None:
        """Return the generation whose log this is, if it is ours."""
        owned = self._owned.get(log.request_id)
        return owned if owned is not None and owned.log is log else None

    def disown(self, log: EventLog) -> None:
        """Let a generation of ours go, to which nothing was written."""
        if (owned := self.get(log)) is not None:
            del self._owned[log.request_id]
            self._dirty.pop(owned, None)

    def mark(self, owned: OwnedLog) -> None:
        """Write what waits of a generation."""
        self._dirty[owned] = None
        self._has_work.set()
        if self._is_away:
            # Its readers here go on; Redis gets it later.
            owned.log.show(len(owned.log.events))

    async def _run(self) -> None:
        while True:
            await self._has_work.wait()
            if not await self._flush():
                await asyncio.sleep(PAUSE_SECONDS)

    async def _flush(self) -> bool:
        """Write what waits; tell whether to go on at once, which does not hold where Redis is away or has lost some."""
        async with self._busy:
            self._has_work.clear()
            batch = list(self._dirty)
            self._dirty.clear()
            counts = [len(owned.log.events) for owned in batch]
            sizes = [len(owned.waiting) for owned in batch]
            try:
                pipeline: Any = self._client.pipeline(transaction=False)
                for owned in batch:
                    pipeline.eval(WRITE, 4, *self._arguments(owned))
                answers: list[Any] = await pipeline.execute() if batch else []
            except (RedisError, OSError) as error:
                self._note_away(error, batch)
                return False
            self._note_there()
            is_settled = True
            for owned, count, size, answer in zip(batch, counts, sizes, answers, strict=True):
                if answer == -1 and owned.end != "forget":
                    await self._restore(owned)
                    is_settled = False
                else:
                    # One that was to be forgotten and is not there is forgotten.
                    self._settle(owned, count, size, abs(answer))
            return is_settled

    def _arguments(self, owned: OwnedLog) -> list[Any]:
        log, claim = owned.log, owned.head.claim
        return [
            *(head_key(log.request_id), events_key(log.request_id), RUNNING, ENDED),
            *(self._name, owned.written, len(log.events), encode_entry(owned.waiting) if owned.waiting else b""),
            *(owned.facts, log.request_id, owned.end, self._keep_ms),
            "" if claim is None else idempotency_key(claim.key),
            self._max_count,
        ]

    def _settle(self, owned: OwnedLog, count: int, size: int, answer: int) -> None:
        if answer == 1:
            owned.written = count
            del owned.waiting[:size]
            owned.log.show(count)
            if owned.end and not owned.waiting:
                self._owned.pop(owned.log.request_id, None)
        else:
            self._lose(owned)

    def _lose(self, owned: OwnedLog) -> None:
        if self._owned.pop(owned.log.request_id, None) is not None:
            self._dirty.pop(owned, None)
            self._on_lost(owned)

    async def _restore(self, owned: OwnedLog) -> None:
        """Put a generation there that Redis has lost; its events from the start follow."""
        owned.log.show(len(owned.log.events))
        try:
            if await self._reopen(owned.head):
                # The key is a newer generation's by now, and stays so: this one is found by its id only.
                owned.head = structs.replace(owned.head, claim=None)
                await self._reopen(owned.head)
        except RetentionUnavailableError:
            self._is_away = True
        except RetentionFullError:
            # Its readers here have it all. The next lease to renew, or the next event, is another try.
            if owned.end:
                self._owned.pop(owned.log.request_id, None)
            return
        owned.waiting = [encode_events(owned.log.events)] if owned.log.events else []
        owned.written = 0
        self.mark(owned)

    def _note_away(self, error: Exception, batch: list[OwnedLog]) -> None:
        if not self._is_away:
            _log.warning("retention store lost", reason=str(error) or type(error).__name__)
        self._is_away = True
        for owned in self._owned.values():
            owned.log.show(len(owned.log.events))
        for owned in batch:
            self._dirty[owned] = None
        self._has_work.set()

    def _note_there(self) -> None:
        if self._is_away:
            self._is_away = False
            self._away_until = asyncio.get_running_loop().time() + LEASE_SECONDS
            _log.info("retention store found again")

    async def _renew(self) -> None:
        while True:
            await self._say_leases(LEASE_MS)
            await asyncio.sleep(RENEW_SECONDS)

    async def _say_leases(self, lease_ms: int) -> None:
        owned = list(self._owned.values())
        ids = [item.log.request_id for item in owned]
        try:
            async with self._busy:
                answers: list[int] = await self._client.eval(RENEW, 1, RUNNING, self._name, lease_ms, *ids)
                self._note_there()
        except (RedisError, OSError) as error:
            self._note_away(error, [])
            return
        for item, answer in zip(owned, answers, strict=True):
            if answer == 0 and self._owned.get(item.log.request_id) is item and not item.end:
                self._lose(item)
            elif answer == -1:
                self.mark(item)

    async def release(self) -> None:
        """Write what waits, and give up all leases."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(RELEASE_SECONDS):
                while self._dirty:
                    if not await self._flush() and self._is_away:
                        return
        await self._say_leases(0)
        self._owned.clear()

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
