"""Clients of Redis, made in one way."""

from typing import Any

import redis.asyncio

from headrace.schema.settings import RedisSettings

TIMEOUT_SECONDS = 2.0


def open_client(
    settings: RedisSettings, *, answers_seconds: float | None = TIMEOUT_SECONDS, connections: int = 1
) -> "redis.asyncio.Redis":
    """Return a client that opens its connections when it needs them.

    Args:
        settings: where Redis is; the URL must not be empty.
        answers_seconds: how long to wait for an answer; None for one that listens.
        connections: how many it may have; with more than one, what finds all of them busy waits for one.

    Raises:
        ValueError: the URL can't be used.
    """
    password = settings.password.reveal() if settings.password else None
    options: dict[str, Any] = {} if password is None else {"password": password}
    if connections > 1:
        return redis.asyncio.Redis(connection_pool=_open_pool(settings, answers_seconds, connections, options))
    try:
        return redis.asyncio.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            settings.url,
            socket_timeout=answers_seconds,
            socket_connect_timeout=TIMEOUT_SECONDS,
            max_connections=1,
            **options,
        )
    except ValueError as error:
        raise ValueError(f"redis.url: not a usable redis:// URL: {error}") from None


def _open_pool(
    settings: RedisSettings, answers_seconds: float | None, connections: int, options: dict[str, Any]
) -> "redis.asyncio.BlockingConnectionPool":
    try:
        return redis.asyncio.BlockingConnectionPool.from_url(  # pyright: ignore[reportUnknownMemberType]
            settings.url,
            socket_timeout=answers_seconds,
            socket_connect_timeout=TIMEOUT_SECONDS,
            max_connections=connections,
            timeout=TIMEOUT_SECONDS,
            **options,
        )
    except ValueError as error:
        raise ValueError(f"redis.url: not a usable redis:// URL: {error}") from None
