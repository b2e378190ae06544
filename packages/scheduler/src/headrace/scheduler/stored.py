"""Chunks that were too large for the broker: they are fetched from the object store before they are taken.

What comes after such a chunk waits for it, so that the order of a stream is what its worker told. The wait is bounded
by the tries of the object store, and what waits by the length of the answer.
"""

from collections import deque
from collections.abc import Callable

from headrace.scheduler.entries import Entries
from headrace.scheduler.large import LargeRequests
from headrace.schema.codec import CodecError, decode_replies
from headrace.schema.errors import ErrorCode
from headrace.schema.events import StoredChunk, StreamChunk
from headrace.transport.objects import PayloadError
from headrace.transport.tasks import TaskOwner


class StoredChunks:
    """Fetches chunks, one after the other for each request.

    Args:
        large: where they lie; None where there is no object store.
        entries: what is in flight.
        take: takes a chunk that was fetched, or that waited for one.
    """

    def __init__(self, large: LargeRequests | None, entries: Entries, *, take: Callable[[StreamChunk], None]) -> None:
        self._large = large
        self._entries = entries
        self._take = take
        self._waiting: dict[str, deque[StreamChunk | StoredChunk]] = {}
        self._tasks = TaskOwner()

    def __contains__(self, request_id: str) -> bool:
        """Whether what comes for a request now has to wait."""
        return request_id in self._waiting

    def add(self, chunk: StreamChunk | StoredChunk) -> None:
        """Take a chunk, after those of its request that wait."""
        waiting = self._waiting.get(chunk.request_id)
        if waiting is not None:
            waiting.append(chunk)
            return
        self._waiting[chunk.request_id] = deque([chunk])
        self._tasks.start(self._run(chunk.request_id), name="fetch stored chunks")

    async def _run(self, request_id: str) -> None:
        waiting = self._waiting[request_id]
        try:
            while waiting:
                chunk = waiting[0]
                if isinstance(chunk, StoredChunk):
                    await self._fetch(chunk)
                else:
                    self._take(chunk)
                waiting.popleft()
        finally:
            del self._waiting[request_id]

    async def _fetch(self, stored: StoredChunk) -> None:
        if self._large is None:
            self._fail(stored, "a part of the answer lies in an object store that this gateway does not know")
            return
        if self._is_wanted(stored):
            try:
                self._take(_read(await self._large.load(stored.payload), stored))
            except (PayloadError, CodecError) as error:
                self._fail(stored, str(error))
        self._large.discard(stored.payload)

    def _is_wanted(self, stored: StoredChunk) -> bool:
        entry = self._entries.get(stored.request_id)
        return entry is not None and stored.attempt >= entry.mailbox.attempt

    def _fail(self, stored: StoredChunk, reason: str) -> None:
        entry = self._entries.get(stored.request_id)
        if entry is not None and self._is_wanted(stored):
            self._entries.end_early(entry, ErrorCode.PAYLOAD_LOST, reason)

    async def close(self) -> None:
        """Stop; what was not fetched is left to the sweep."""
        await self._tasks.close()


def _read(body: bytes, stored: StoredChunk) -> StreamChunk:
    items = decode_replies(body)
    if len(items) == 1 and isinstance(items[0], StreamChunk) and items[0].request_id == stored.request_id:
        return items[0]
    raise CodecError("what lies in the object store is not the part of the answer that it should be")
