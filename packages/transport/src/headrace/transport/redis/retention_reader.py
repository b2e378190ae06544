"""Reads the events of any number of generations, and the inbox of the process, over one connection.

A follower that comes while the connection waits for news wakes it by writing to the inbox.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from headrace.schema.codec import CodecError, decode_events
from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, GenerationFailed
from headrace.schema.settings import RedisSettings
from headrace.transport.redis.client import open_client
from headrace.transport.redis.retention_scripts import events_key, head_key, inbox_key
from headrace.transport.retention.base import LEASE_SECONDS, gone_failure
from headrace.transport.retention.log import EventLog

BLOCK_MS = 1000
ANSWER_SECONDS = 4.0
PAUSE_SECONDS = 0.25
# Readers of another process's generation are told that Redis is away after this time.
AWAY_SECONDS = 10.0
# An owner that lives writes again what Redis has lost when it next renews its lease. What is not there after this time
# had an owner that was lost before Redis was, and nobody goes on with it.
RESTORED_SECONDS = LEASE_SECONDS * 1.5
# For clients: what Redis's client says names hosts and ports, and is for the log.
AWAY_MESSAGE = "Redis, where retained generations are kept, does not answer"

Entry = tuple[bytes, Mapping[bytes, bytes]]

_batches = msgspec.msgpack.Decoder(list[bytes])
_log = structlog.get_logger("headrace.redis")


def encode_entry(batches: Sequence[bytes]) -> bytes:
    """Return what one entry of a stream holds: batches of encoded events."""
    return msgspec.msgpack.encode(batches)


def decode_entry(data: bytes) -> list[Event]:
    """Return the events of an entry.

    Raises:
        CodecError: it holds none.
    """
    try:
        return [event for batch in _batches.decode(data) for event in decode_events(batch)]
    except msgspec.DecodeError as error:
        raise CodecError(f"not an entry of events: {error}") from None


def take_entries(log: EventLog, entries: Sequence[Entry]) -> None:
    """Put the entries of a stream into a log, but for what it has.

    Raises:
        CodecError: an entry can't be read.
    """
    for _, fields in entries:
        known = len(log.events) - int(fields[b"s"])
        log.add(decode_entry(fields[b"e"])[known:], size_bytes=len(fields[b"e"]))
    log.show(len(log.events))


class StreamReader:
    """Follows streams; see the module.

    Args:
        settings: where Redis is.
        owner: the name of the process.
        on_request: takes what came into the inbox: a verb and a request id.
        restored_seconds: how long owners have to write again what Redis has lost.
    """

    def __init__(
        self,
        settings: RedisSettings,
        *,
        owner: str,
        on_request: Callable[[str, str], None],
        restored_seconds: float = RESTORED_SECONDS,
    ) -> None:
        self._client: Any = open_client(settings, answers_seconds=ANSWER_SECONDS)
        self._inbox = inbox_key(owner)
        self._inbox_at = "0-0"
        self._on_request = on_request
        self._logs: dict[str, EventLog] = {}
        self._guards: dict[str, asyncio.TimerHandle] = {}
        self._away_since: float | None = None
        self._restored_seconds = restored_seconds
        self._restored_at: float | None = None

    def get(self, request_id: str) -> EventLog | None:
        """Return the log of a generation that is followed."""
        return self._logs.get(request_id)

    def follow(self, log: EventLog, *, seconds: float) -> None:
        """Bring what comes after what a log has, for so long at most; wake the reader then."""
        self._logs[log.request_id] = log
        guard = asyncio.get_running_loop().call_later(seconds, self._give_up, log)
        self._guards[log.request_id] = guard

    def _give_up(self, log: EventLog) -> None:
        log.break_off(gone_failure())
        self.unfollow(log)

    def unfollow(self, log: EventLog) -> None:
        """Bring nothing more to a log."""
        if self._logs.get(log.request_id) is log:
            del self._logs[log.request_id]
            self._guards.pop(log.request_id).cancel()

    async def run(self) -> None:
        """Read until cancelled."""
        while True:
            try:
                await self._read_once()
                await self._note_there()
            except (RedisError, OSError) as error:
                self._note_away(error)
                await asyncio.sleep(PAUSE_SECONDS)

    def _note_away(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if self._away_since is None:
            self._away_since = now
            _log.warning("retention store lost", reason=str(error) or type(error).__name__)
        if now - self._away_since < AWAY_SECONDS:
            return
        for log in list(self._logs.values()):
            log.break_off(GenerationFailed(ErrorCode.BROKER_UNAVAILABLE, AWAY_MESSAGE, "reply", retryable=True))
            self.unfollow(log)

    async def _note_there(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._away_since is not None:
            self._away_since = None
            self._restored_at = now + self._restored_seconds
        if self._restored_at is not None and now >= self._restored_at:
            await self._give_up_lost()
            self._restored_at = None

    async def _give_up_lost(self) -> None:
        for log in list(self._logs.values()):
            if not await self._client.exists(head_key(log.request_id)):
                self._give_up(log)

    async def _read_once(self) -> None:
        places = {self._inbox: self._inbox_at}
        places |= {events_key(name): f"{len(log.events)}-0" for name, log in self._logs.items()}
        answer: Any = await self._client.xread(places, block=BLOCK_MS)
        for name, entries in answer.items() if isinstance(answer, dict) else answer or ():  # pyright: ignore[reportUnknownVariableType]
            self._take(name.decode(), _flat(entries))  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]

    def _take(self, name: str, entries: Sequence[Entry]) -> None:
        if name == self._inbox:
            self._inbox_at = entries[-1][0].decode()
            for _, fields in entries:
                self._on_request(fields[b"verb"].decode(), fields[b"id"].decode())
            return
        log = self._logs.get(name.rpartition(":")[2])
        if log is None:
            return
        try:
            take_entries(log, entries)
        except CodecError as error:
            _log.error("retained events not read", request_id=log.request_id, reason=str(error))
            message = "the events of this generation can't be read here"
            log.break_off(GenerationFailed(ErrorCode.INTERNAL_ERROR, message, "reply", retryable=True))
        if log.is_over:
            self.unfollow(log)

    async def close(self) -> None:
        """Close the connection."""
        for guard in self._guards.values():
            guard.cancel()
        await self._client.aclose()


def _flat(entries: Any) -> Sequence[Entry]:
    """Return entries as one list: the third version of Redis's protocol wraps them in another."""
    return entries[0] if entries and isinstance(entries[0], list) else entries
