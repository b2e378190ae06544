"""Retained generations in the memory of one process, for as long as it lives."""

import asyncio
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec import Struct, structs

from headrace.schema.codec import encode_events
from headrace.schema.events import Event, is_terminal
from headrace.transport.retention.base import (
    LEASE_SECONDS,
    RENEW_SECONDS,
    Opened,
    Orphan,
    RetainedHead,
    RetentionFullError,
    RetentionLimits,
    RetentionOwner,
    gone_failure,
)
from headrace.transport.retention.log import EventLog
from headrace.transport.tasks import TaskOwner


class _Kept(Struct):
    """One generation: its owner while it runs, and until when that one is believed to live."""

    head: RetainedHead
    log: EventLog
    owner: "MemoryRetentionStore | None"
    lease_until: float
    kept_until: float


class MemoryRetention:
    """What the stores of one process share.

    Args:
        limits: how much is kept.
        clock: Unix seconds.
    """

    def __init__(self, limits: RetentionLimits, *, clock: Callable[[], float] = time.time) -> None:
        self.limits = limits
        self.clock = clock
        self.kept: dict[str, _Kept] = {}
        self.keys: dict[str, str] = {}

    def forget_old(self) -> None:
        """Let go of what was kept for long enough."""
        now = self.clock()
        for request_id in [name for name, kept in self.kept.items() if kept.kept_until <= now]:
            self.forget(request_id)

    def make_room(self) -> None:
        """Let go of the oldest that has ended, while there is more than may be."""
        while self._is_over(self.kept.values()):
            ended = [kept for kept in self.kept.values() if kept.log.has_ended]
            if not ended:
                return
            self.forget(min(ended, key=lambda kept: kept.kept_until).head.request_id)

    def has_room(self) -> bool:
        """Tell whether one more may run: what has ended can make room."""
        running = [kept for kept in self.kept.values() if not kept.log.has_ended]
        return len(running) < self.limits.max_count and _total_bytes(running) < self.limits.max_total_bytes

    def _is_over(self, kept: Collection[_Kept]) -> bool:
        return len(kept) > self.limits.max_count or _total_bytes(kept) > self.limits.max_total_bytes

    def forget(self, request_id: str) -> None:
        """Let go of one."""
        kept = self.kept.pop(request_id)
        self.free_key(kept.head)

    def free_key(self, head: RetainedHead) -> None:
        """Let the key of a generation be used again."""
        if head.claim is not None and self.keys.get(head.claim.key) == head.request_id:
            del self.keys[head.claim.key]


def _total_bytes(kept: Iterable[_Kept]) -> int:
    return sum(item.log.size_bytes + len(item.head.submission) for item in kept)


class MemoryRetentionStore:
    """A `RetentionStore` of one owner.

    Args:
        shared: where the generations are; other owners in the process may share it.
    """

    def __init__(self, shared: MemoryRetention) -> None:
        self._shared = shared
        self._owner: RetentionOwner | None = None
        self._tasks = TaskOwner()

    @property
    def is_shared(self) -> bool:
        """Not by other processes."""
        return False

    async def start(self, owner: RetentionOwner) -> None:
        """Begin to renew leases."""
        self._owner = owner
        self._tasks.start(self._renew(), name="renew leases")

    async def check(self) -> None:
        """It is always there."""

    async def _renew(self) -> None:
        while True:
            until = self._shared.clock() + LEASE_SECONDS
            for kept in self._shared.kept.values():
                if kept.owner is self:
                    kept.lease_until = until
            await asyncio.sleep(RENEW_SECONDS)

    async def open(self, head: RetainedHead) -> Opened:
        """Keep a generation from now on; see `RetentionStore`."""
        shared = self._shared
        shared.forget_old()
        if head.claim is not None and (holder := shared.keys.get(head.claim.key)) is not None:
            claim = shared.kept[holder].head.claim
            return Opened(request_id=holder, sha256="" if claim is None else claim.sha256)
        if not shared.has_room():
            raise RetentionFullError
        log = EventLog(head.request_id)
        now = shared.clock()
        shared.kept[head.request_id] = _Kept(
            head, log, self, now + LEASE_SECONDS, max(now, head.deadline) + shared.limits.seconds
        )
        if head.claim is not None:
            shared.keys[head.claim.key] = head.request_id
        return Opened(request_id=head.request_id, log=log)

    def write(
        self,
        log: EventLog,
        events: Sequence[Event] = (),
        *,
        facts: bytes | None = None,
        frees_key: bool = False,
        forgets: bool = False,
    ) -> None:
        """Append events; see `RetentionStore`."""
        kept = self._shared.kept.get(log.request_id)
        if kept is None or kept.log is not log or kept.owner is not self:
            return
        if facts is not None:
            kept.head = structs.replace(kept.head, facts=facts)
            self._shared.make_room()
        if not events:
            return
        log.add(events, size_bytes=len(encode_events(events)))
        if is_terminal(events[-1]):
            kept.owner = None
            kept.kept_until = self._shared.clock() + self._shared.limits.seconds
            if frees_key:
                self._shared.free_key(kept.head)
        log.show(len(log.events))
        if forgets and log.has_ended:
            self._shared.forget(log.request_id)

    async def find(self, request_id: str) -> RetainedHead | None:
        """Return a generation that is kept."""
        self._shared.forget_old()
        kept = self._shared.kept.get(request_id)
        return None if kept is None else structs.replace(kept.head, count=len(kept.log.events))

    async def follow(self, head: RetainedHead) -> EventLog:
        """Return the events of a generation; those of one that is gone end at once."""
        kept = self._shared.kept.get(head.request_id)
        if kept is None:
            log = EventLog(head.request_id)
            log.break_off(gone_failure())
        else:
            log = kept.log
        log.readers += 1
        return log

    def unfollow(self, log: EventLog) -> None:
        """Say that one reader needs a log no more."""
        log.readers -= 1

    async def request_cancel(self, request_id: str) -> bool:
        """Have a generation cancelled by its owner."""
        kept = self._shared.kept.get(request_id)
        if kept is None or kept.log.has_ended:
            return False
        kept.head = structs.replace(kept.head, is_cancelled=True)
        if kept.owner is not None and kept.owner._owner is not None:  # noqa: SLF001 - another store of this kind
            kept.owner._owner.cancel_owned(request_id)  # noqa: SLF001
        return True

    async def claim_orphan(self) -> Orphan | None:
        """Become the owner of a generation whose owner is gone."""
        now = self._shared.clock()
        for kept in self._shared.kept.values():
            if not kept.log.has_ended and kept.lease_until <= now:
                before, kept.owner = kept.owner, self
                kept.lease_until = now + LEASE_SECONDS
                if before is self:
                    continue
                if before is not None and before._owner is not None:  # noqa: SLF001 - another store of this kind
                    before._owner.lose_owned(kept.head.request_id)  # noqa: SLF001
                return Orphan(head=kept.head, log=kept.log)
        return None

    def disown(self, log: EventLog) -> None:
        """Renew the lease of a generation no more; see `RetentionStore`."""
        kept = self._shared.kept.get(log.request_id)
        if kept is not None and kept.log is log and kept.owner is self:
            kept.owner = None

    async def release(self) -> None:
        """Give up all that we own."""
        for kept in self._shared.kept.values():
            if kept.owner is self:
                kept.owner, kept.lease_until = None, 0.0

    async def close(self) -> None:
        """Stop renewing."""
        await self._tasks.close()
