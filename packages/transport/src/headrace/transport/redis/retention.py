"""Retained generations in Redis, where every gateway finds them.

Three connections a process, whatever the number of generations and readers: one that writes, one that asks, one that
waits for news of all that is followed. What one turn of the event loop brings of a generation is one write; while Redis
is slow it is one write for all that came meanwhile, and while it is away owners keep what they have to write.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from msgspec import structs
from redis.exceptions import RedisError

from headrace.schema.codec import CodecError, encode_events
from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, GenerationFailed, is_terminal
from headrace.schema.settings import RedisSettings
from headrace.transport.redis.client import open_client
from headrace.transport.redis.retention_reader import AWAY_MESSAGE, RESTORED_SECONDS, StreamReader, take_entries
from headrace.transport.redis.retention_scripts import (
    CLAIM,
    ENDED,
    OPEN,
    RUNNING,
    events_key,
    head_key,
    idempotency_key,
    inbox_key,
)
from headrace.transport.redis.retention_writer import OwnedLog, RetentionWriter
from headrace.transport.retention.base import (
    LEASE_SECONDS,
    IdempotencyClaim,
    Opened,
    Orphan,
    RetainedHead,
    RetentionFullError,
    RetentionLimits,
    RetentionOwner,
    RetentionUnavailableError,
)
from headrace.transport.retention.log import EventLog
from headrace.transport.tasks import TaskOwner

LEASE_MS = int(LEASE_SECONDS * 1000)
INBOX_LENGTH = 1000
# After its deadline nothing more can come of a generation, but its end may be on its way.
LATE_SECONDS = 10.0

_log = structlog.get_logger("headrace.redis")


class RedisRetentionStore:
    """A `RetentionStore` in Redis.

    Args:
        settings: where it is; the URL must not be empty.
        limits: how much is kept.
        owner: the name of this process; no other has it.
        clock: Unix seconds.
        restored_seconds: how long owners have to write again what Redis has lost, before those who follow it are told.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(
        self,
        settings: RedisSettings,
        limits: RetentionLimits,
        *,
        owner: str,
        clock: Callable[[], float] = time.time,
        restored_seconds: float = RESTORED_SECONDS,
    ) -> None:
        self._limits = limits
        self._name = owner
        self._clock = clock
        self._client = open_client(settings)
        self._asking = asyncio.Lock()
        self._is_away = False
        self._reader = StreamReader(
            settings, owner=owner, on_request=self._take_request, restored_seconds=restored_seconds
        )
        self._writer = RetentionWriter(
            open_client(settings),
            owner=owner,
            keep_ms=int(limits.seconds * 1000),
            max_count=limits.max_count,
            on_lost=self._lose,
            reopen=self._put,
        )
        self._owner: RetentionOwner | None = None
        self._tasks = TaskOwner()

    @property
    def is_shared(self) -> bool:
        """By all processes that have the same Redis."""
        return True

    async def start(self, owner: RetentionOwner) -> None:
        """Begin to write, to read and to renew leases."""
        self._owner = owner
        self._tasks.start(self._reader.run(), name="retained events")
        self._writer.start(self._tasks)

    async def check(self) -> None:
        """Raise RetentionUnavailableError unless Redis answers."""
        await self._ask(lambda client: client.ping())

    async def open(self, head: RetainedHead) -> Opened:
        """Keep a generation from now on; see `RetentionStore`."""
        held = await self._put(head)
        if held:
            request_id, _, sha256 = held.partition(" ")
            return Opened(request_id=request_id, sha256=sha256)
        log = EventLog(head.request_id)
        self._writer.own(OwnedLog(head, log))
        return Opened(request_id=head.request_id, log=log)

    async def _put(self, head: RetainedHead) -> str:
        """Return what holds the key of a generation already; nothing where the generation was put there."""
        claim = head.claim
        ends = int((max(head.deadline, self._clock()) + self._limits.seconds) * 1000)
        arguments: list[Any] = [
            *(3, RUNNING, ENDED, head_key(head.request_id), head.request_id),
            *(("", "") if claim is None else (idempotency_key(claim.key), f"{head.request_id} {claim.sha256}")),
            *(LEASE_MS, int(self._limits.seconds * 1000), self._limits.max_count, ends),
            *("owner", self._name, "tenant", head.tenant_id, "submission", head.submission),
            *("submitted_at", head.submitted_at, "deadline", head.deadline, "facts", head.facts),
            *("claim", "" if claim is None else claim.key, "sha256", "" if claim is None else claim.sha256),
        ]
        answer: bytes = await self._ask(lambda client: client.eval(OPEN, *arguments))
        if answer == b"full":
            raise RetentionFullError
        return answer.decode()

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
        if (owned := self._writer.get(log)) is None:
            return
        if facts is not None:
            owned.facts = facts
        if events:
            data = encode_events(events)
            log.add(events, size_bytes=len(data))
            owned.waiting.append(data)
            if is_terminal(events[-1]):
                owned.end = "forget" if forgets else "free" if frees_key else "keep"
        self._writer.mark(owned)

    async def find(self, request_id: str) -> RetainedHead | None:
        """Return a generation that is kept, or None."""
        found: dict[bytes, bytes] = await self._ask(lambda client: client.hgetall(head_key(request_id)))
        return _to_head(request_id, found) if found else None

    async def follow(self, head: RetainedHead) -> EventLog:
        """Return the events of a generation; see `RetentionStore`."""
        owned = self._writer.find(head.request_id)
        log = self._reader.get(head.request_id) if owned is None else owned.log
        if log is None:
            log = await self._load(head.request_id)
            # Another reader may have come meanwhile.
            log = self._reader.get(head.request_id) or log
        log.readers += 1
        if owned is None and not log.is_over and self._reader.get(head.request_id) is None:
            self._reader.follow(log, seconds=max(0.0, head.deadline - self._clock()) + LATE_SECONDS)
            await self._send_request(self._name, "wake", "")
        return log

    async def _load(self, request_id: str) -> EventLog:
        log = EventLog(request_id)
        entries: Any = await self._ask(lambda client: client.xrange(events_key(request_id)))
        try:
            take_entries(log, entries)
        except CodecError as error:
            _log.error("retained events not read", request_id=request_id, reason=str(error))
            message = "the events of this generation can't be read here"
            log.break_off(GenerationFailed(ErrorCode.INTERNAL_ERROR, message, "reply", retryable=True))
        return log

    def unfollow(self, log: EventLog) -> None:
        """Say that one reader needs a log no more."""
        log.readers -= 1
        if not log.readers:
            self._reader.unfollow(log)

    async def request_cancel(self, request_id: str) -> bool:
        """Have a generation cancelled by its owner, or by whoever claims it."""
        key = head_key(request_id)
        owner: bytes | None = await self._ask(lambda client: client.hget(key, "owner"))
        if not owner:
            return False
        await self._ask(lambda client: client.hset(key, "cancelled", "1"))
        await self._send_request(owner.decode(), "cancel", request_id)
        return True

    async def _send_request(self, owner: str, verb: str, request_id: str) -> None:
        inbox, fields = inbox_key(owner), {"verb": verb, "id": request_id}
        await self._ask(lambda client: client.xadd(inbox, fields, maxlen=INBOX_LENGTH, approximate=True))
        await self._ask(lambda client: client.expire(inbox, 60))

    def _take_request(self, verb: str, request_id: str) -> None:
        if verb == "cancel" and self._owner is not None:
            self._owner.cancel_owned(request_id)

    async def claim_orphan(self) -> Orphan | None:
        """Become the owner of a generation whose owner is gone."""
        if not self._writer.may_claim:
            return None
        answer: bytes = await self._ask(lambda client: client.eval(CLAIM, 1, RUNNING, self._name, LEASE_MS))
        request_id = answer.decode()
        # One of our own, whose lease ran out because our loop was blocked, is ours again.
        if not request_id or self._writer.find(request_id) is not None:
            return None
        if (head := await self.find(request_id)) is None:
            return None
        log = await self._load(request_id)
        self._writer.own(OwnedLog(head, log))
        return Orphan(head=head, log=log)

    def disown(self, log: EventLog) -> None:
        """Renew the lease of a generation no more; see `RetentionStore`."""
        self._writer.disown(log)

    def _lose(self, owned: OwnedLog) -> None:
        message = "another gateway goes on with this generation; take it up again by its id"
        owned.log.break_off(GenerationFailed(ErrorCode.STREAM_BROKEN, message, "reply", retryable=True))
        _log.warning("generation lost to another gateway", request_id=owned.log.request_id)
        if self._owner is not None:
            self._owner.lose_owned(owned.log.request_id)

    async def _ask(self, command: "Callable[[Any], Coroutine[Any, Any, Any]]") -> Any:
        try:
            async with self._asking:
                answer = await command(self._client)
        except (RedisError, OSError) as error:
            if not self._is_away:
                self._is_away = True
                _log.warning("retention store lost", reason=str(error) or type(error).__name__)
            raise RetentionUnavailableError(AWAY_MESSAGE) from None
        self._is_away = False
        return answer

    async def release(self) -> None:
        """Give up all that we own."""
        await self._writer.release()

    async def close(self) -> None:
        """Close the connections; what is still to be written is not waited for."""
        await self._tasks.close()
        await self._writer.close()
        await self._reader.close()
        await self._client.aclose()


def _to_head(request_id: str, found: dict[bytes, bytes]) -> RetainedHead:
    key = found[b"claim"].decode()
    head = RetainedHead(
        request_id=request_id,
        tenant_id=found[b"tenant"].decode(),
        submission=found[b"submission"],
        submitted_at=float(found[b"submitted_at"]),
        deadline=float(found[b"deadline"]),
        claim=IdempotencyClaim(key=key, sha256=found[b"sha256"].decode()) if key else None,
        facts=found[b"facts"],
        count=int(found.get(b"count", b"0")),
    )
    return structs.replace(head, is_cancelled=b"cancelled" in found)
