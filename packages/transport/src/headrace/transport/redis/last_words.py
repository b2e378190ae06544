"""Last words in Redis: a hash for each request, with a field for each attempt, that goes by itself."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from redis.exceptions import RedisError

from headrace.schema.codec import CodecError
from headrace.schema.last_word import LastWord, decode_last_word, encode_last_word
from headrace.schema.settings import RedisSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.last_words.base import KEPT_SECONDS
from headrace.transport.redis.client import open_client

KEY_PREFIX = "headrace:last-word:"
# A gateway that ran many leaves many: each batch is one round trip, and none of them holds Redis up.
BATCH = 500

_log = structlog.get_logger("headrace.redis")


class RedisLastWords:
    """A `LastWords` that all gateways and workers share. Two callers at once take turns.

    Args:
        settings: where Redis is; the URL must not be empty.
        kept_seconds: how long a word is kept.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(self, settings: RedisSettings, *, kept_seconds: float = KEPT_SECONDS) -> None:
        self._client = open_client(settings)
        self._turn = asyncio.Lock()
        self._kept_ms = round(kept_seconds * 1000)

    async def leave(self, words: Sequence[LastWord]) -> None:
        """Keep words; see `LastWords`."""
        for begin in range(0, len(words), BATCH):
            # As one step, so that no key stays that does not go by itself.
            pipeline: Any = self._client.pipeline(transaction=True)
            for word in words[begin : begin + BATCH]:
                key = KEY_PREFIX + word.request_id
                pipeline.hset(key, str(word.attempt), encode_last_word(word))
                pipeline.pexpire(key, self._kept_ms)
            await self._run(pipeline)

    async def read(self, request_ids: Sequence[str]) -> list[LastWord]:
        """Return every word about these requests; see `LastWords`."""
        words: list[LastWord] = []
        for begin in range(0, len(request_ids), BATCH):
            pipeline: Any = self._client.pipeline(transaction=False)
            for request_id in request_ids[begin : begin + BATCH]:
                pipeline.hvals(KEY_PREFIX + request_id)
            for values in await self._run(pipeline):
                words += [word for value in values if (word := _decode(value)) is not None]
        return words

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def _run(self, pipeline: Any) -> list[Any]:
        try:
            async with self._turn:
                return await pipeline.execute()
        except (RedisError, OSError) as error:
            raise TransportUnavailableError(f"Redis does not answer: {error or type(error).__name__}") from None


def _decode(data: bytes) -> LastWord | None:
    try:
        return decode_last_word(data)
    except CodecError as error:
        _log.error("last word dropped", reason=str(error))
        return None
