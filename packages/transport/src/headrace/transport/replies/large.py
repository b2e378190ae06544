"""Chunks that are too large for the broker: they go into the object store, and only a reference goes out."""

import secrets

import structlog

from headrace.schema.codec import encode_replies
from headrace.schema.events import ReplyItem, StoredChunk, StreamChunk
from headrace.transport.objects.payloads import PayloadError, PayloadStore

_log = structlog.get_logger("headrace.objects")


class LargeReplies:
    """Moves chunks into the object store.

    Args:
        payloads: the store.
        threshold_bytes: a larger chunk is moved.
    """

    def __init__(self, payloads: PayloadStore, *, threshold_bytes: int) -> None:
        self._payloads = payloads
        self._threshold_bytes = threshold_bytes

    def is_large(self, body: bytes) -> bool:
        """Whether a batch of this size is worth a look at each of its chunks."""
        return len(body) > self._threshold_bytes

    async def store(self, chunk: StreamChunk, body: bytes) -> ReplyItem:
        """Move a chunk, and return what goes out for it: itself, where the store does not take it.

        Args:
            chunk: what is moved.
            body: a batch of this one chunk, encoded.
        """
        name = f"replies/{chunk.request_id}/{chunk.attempt}-{secrets.token_hex(4)}"
        try:
            payload = await self._payloads.save(name, body)
        except PayloadError as error:
            _log.warning("reply not stored", request_id=chunk.request_id, reason=str(error))
            return chunk
        return StoredChunk(chunk.request_id, chunk.attempt, payload)

    async def discard(self, item: ReplyItem) -> None:
        """Remove what was stored for an item that nobody will read."""
        if isinstance(item, StoredChunk):
            await self._payloads.discard(item.payload)


def encode_alone(chunk: StreamChunk) -> bytes:
    """Return a batch of one chunk: what is stored for it."""
    return encode_replies([chunk])
