"""Asks Redis whether it answers."""

from redis.exceptions import RedisError

from headrace.schema.settings import RedisSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.redis.client import open_client


class RedisProbe:
    """Pings one Redis over one connection that it keeps.

    Args:
        settings: where it is; the URL must not be empty.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._client = open_client(settings)

    async def check(self) -> None:
        """Raise TransportUnavailableError, with the reason, unless Redis answers."""
        try:
            await self._client.ping()  # pyright: ignore[reportUnknownMemberType]
        except (RedisError, OSError) as error:
            raise TransportUnavailableError(f"Redis does not answer: {error or type(error).__name__}") from None

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()
