"""Tells the other gateways at once that something has changed, over Redis; without it they notice at the next poll."""

from collections.abc import Callable

from headrace.schema.settings import RedisSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.redis import RedisRelay

CHANNEL = "accounts:changed"


class RedisAnnouncements:
    """Says, and hears, that something has changed.

    Args:
        settings: where Redis is; the URL must not be empty.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(self, settings: RedisSettings) -> None:
        self._relay = RedisRelay(settings)

    def start(self, look_now: Callable[[], None]) -> None:
        """Begin to listen.

        Args:
            look_now: is called when somebody has changed something.
        """
        self._relay.listen(CHANNEL, lambda _: look_now())

    async def announce(self) -> None:
        """Say that something has changed; where Redis is away, nobody hears it."""
        try:
            await self._relay.publish(CHANNEL, b"")
        except TransportUnavailableError:
            # Said by readiness. The gateways look by themselves.
            return

    async def close(self) -> None:
        """Stop to listen."""
        await self._relay.close()
