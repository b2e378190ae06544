"""What a client is told of a Redis that is away."""

import socket

import pytest

from headrace.schema.settings import RedisSettings
from headrace.transport.redis import RedisRetentionStore
from headrace.transport.retention import RetentionLimits, RetentionUnavailableError


async def test_where_redis_is_stays_in_the_log() -> None:
    with socket.socket() as held:
        # Bound, so that nobody else has it; nobody listens.
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        limits = RetentionLimits(seconds=60.0, max_count=10, max_total_bytes=1000)
        store = RedisRetentionStore(RedisSettings(url=f"redis://127.0.0.1:{port}"), limits, owner="me")
        with pytest.raises(RetentionUnavailableError) as caught:
            await store.check()
        await store.close()
    assert str(caught.value) == "Redis, where retained generations are kept, does not answer"
