"""Asks Redis whether it answers."""

from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from headrace.schema.settings import RedisSettings
from headrace.transport.base import TransportUnavailableError

TIMEOUT_SECONDS = 2.0


class RedisProbe:
    """Pings one Redis over one connection that it keeps.

    Args:
        settings: where it is; the URL must not be empty.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(self, settings: RedisSettings) -> None:
        password = settings.password.reveal() if settings.password else None
        options: dict[str, Any] = {} if password is None else {"password": password}
        try:
            self._client = redis.asyncio.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
                settings.url,
                socket_timeout=TIMEOUT_SECONDS,
                socket_connect_timeout=TIMEOUT_SECONDS,
                max_connections=1,
                **options,
            )
        except ValueError as error:
            raise ValueError(f"redis.url: not a usable redis:// URL: {error}") from None

    async def check(self) -> None:
        """Raise TransportUnavailableError, with the reason, unless Redis answers."""
        try:
            await self._client.ping()  # pyright: ignore[reportUnknownMemberType]
        except (RedisError, OSError) as error:
            raise TransportUnavailableError(f"Redis does not answer: {error or type(error).__name__}") from None

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
