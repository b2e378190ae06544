"""The way round the broker: pub/sub channels of Redis, for as long as the reply path is down.

Redis tells a publisher how many listen, which the broker can't: a channel on which nobody listens belongs to a process
that is gone.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from redis.exceptions import RedisError

from headrace.schema.settings import RedisSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.redis.client import open_client
from headrace.transport.tasks import TaskOwner

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
# A listener that hears nothing for this long asks whether its connection still lives, and waits as long for an answer:
# where a host was cut off, or a firewall has forgotten the connection, nothing else would say so.
HEALTH_SECONDS = 5.0
CHANNEL_PREFIX = "headrace:"

_log = structlog.get_logger("headrace.redis")


def check_redis_url(settings: RedisSettings) -> None:
    """Raise ValueError, naming the setting, unless the URL can be used or is empty."""
    if settings.url:
        open_client(settings)


class RedisRelay:
    """Publishes on any channel, and listens on one.

    Args:
        settings: where Redis is; the URL must not be empty.
        health_seconds: how long a listener may hear nothing before it asks, and before it gives a connection up.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(self, settings: RedisSettings, *, health_seconds: float = HEALTH_SECONDS) -> None:
        self._settings = settings
        self._health_seconds = health_seconds
        self._publisher = open_client(settings)
        self._tasks = TaskOwner()
        self._listening = asyncio.Event()
        self._said = ""

    @property
    def is_listening(self) -> bool:
        """Whether what is published on our channel reaches us now."""
        return self._listening.is_set()

    def listen(self, channel: str, receive: Callable[[bytes], None]) -> None:
        """Begin to listen, and go on after every loss until `close`.

        Args:
            channel: whose messages.
            receive: takes each on the event loop; it must not block or raise.
        """
        self._tasks.start(self._run(channel, receive), name="redis relay")

    async def wait_listening(self) -> None:
        """Return when what is published on our channel reaches us."""
        await self._listening.wait()

    async def publish(self, channel: str, data: bytes) -> int:
        """Publish, and return how many listen; 0 means that nobody got it.

        Raises:
            TransportUnavailableError: Redis does not answer.
        """
        try:
            command: Any = self._publisher.publish(CHANNEL_PREFIX + channel, data)  # pyright: ignore[reportUnknownMemberType]
            return int(await command)
        except (RedisError, OSError) as error:
            raise TransportUnavailableError(f"Redis does not answer: {error or type(error).__name__}") from None

    async def close(self) -> None:
        """Stop listening, and close the connections."""
        await self._tasks.close()
        await self._publisher.aclose()

    async def _run(self, channel: str, receive: Callable[[bytes], None]) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                await self._listen_once(channel, receive)
            except (RedisError, OSError) as error:
                if self._listening.is_set():
                    pause = FIRST_PAUSE_SECONDS
                self._listening.clear()
                self._say(str(error) or type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _listen_once(self, channel: str, receive: Callable[[bytes], None]) -> None:
        client = open_client(self._settings, answers_seconds=None)
        try:
            async with client.pubsub() as typed:  # pyright: ignore[reportUnknownMemberType]
                pubsub: Any = typed
                async with asyncio.timeout(self._health_seconds):
                    await pubsub.subscribe(CHANNEL_PREFIX + channel)
                is_asked = False
                while True:
                    message = await pubsub.get_message(timeout=self._health_seconds)
                    if message is None:
                        if is_asked:
                            raise TimeoutError("Redis does not answer")
                        is_asked = True
                        await pubsub.ping()
                        continue
                    # Whatever comes, an answer to the question too, says that the connection lives.
                    is_asked = False
                    if message["type"] == "message":
                        receive(message["data"])
                    elif message["type"] == "subscribe":
                        self._listening.set()
                        self._said = ""
        finally:
            await client.aclose()

    def _say(self, reason: str) -> None:
        # Said once for each reason: a Redis that stays away would fill the log.
        if reason != self._said:
            self._said = reason
            _log.warning("relay lost", reason=reason)
