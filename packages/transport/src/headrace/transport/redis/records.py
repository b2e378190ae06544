"""Small values in Redis, over one connection: each a string that expires by itself."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from redis.exceptions import RedisError

from headrace.schema.settings import RedisSettings
from headrace.transport.records import RecordsUnavailableError
from headrace.transport.redis.client import open_client

# For clients: what Redis's client says names hosts and ports.
AWAY_MESSAGE = "Redis does not answer"


class RedisRecords:
    """`Records` in Redis.

    Args:
        settings: where it is; the URL must not be empty.
        prefix: of all keys.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(self, settings: RedisSettings, *, prefix: str) -> None:
        self._client: Any = open_client(settings)
        self._prefix = prefix
        self._asking = asyncio.Lock()

    async def put(self, name: str, value: bytes, *, seconds: float, only_if_there: bool = False) -> None:
        """Keep a value; see `Records`."""
        key, milliseconds = self._prefix + name, max(1, int(seconds * 1000))
        await self._ask(lambda: self._client.set(key, value, px=milliseconds, xx=only_if_there))

    async def get(self, name: str) -> bytes | None:
        """Return a value; see `Records`."""
        return await self._ask(lambda: self._client.get(self._prefix + name))

    async def delete(self, name: str) -> bool:
        """Forget a value; see `Records`."""
        return bool(await self._ask(lambda: self._client.delete(self._prefix + name)))

    async def _ask(self, command: "Callable[[], Coroutine[Any, Any, Any]]") -> Any:
        try:
            async with self._asking:
                return await command()
        except (RedisError, OSError):
            raise RecordsUnavailableError(AWAY_MESSAGE) from None

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
