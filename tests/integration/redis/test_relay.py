"""The relay on a real Redis, which is killed and comes back."""

import asyncio
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from headrace.apps.cli.nodes import RedisNode, RunningNode, running_redis
from headrace.schema.settings import RedisSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.redis import RedisRelay
from tests.support.links import Link

WAIT_SECONDS = 20


@pytest.fixture
def own_redis(tmp_path: Path) -> Generator[tuple[RedisNode, RunningNode]]:
    with running_redis(tmp_path) as running:
        yield running


async def publish_until_heard(relay: RedisRelay, data: bytes) -> None:
    while True:
        if await relay.publish("here", data):
            return
        await asyncio.sleep(0.05)


async def publish_until_unheard(relay: RedisRelay, data: bytes) -> None:
    # Redis counts a listener until it has read that its connection is closed.
    while True:
        if not await relay.publish("here", data):
            return
        await asyncio.sleep(0.05)


async def wait_lost(relay: RedisRelay) -> None:
    while True:
        if not relay.is_listening:
            return
        await asyncio.sleep(0.02)


async def wait_asked(node: RedisNode, *, times: int) -> None:
    """Wait until listeners have asked so often whether their connections live."""
    client: Any = redis.asyncio.Redis.from_url(node.url)  # pyright: ignore[reportUnknownMemberType]
    async with client:
        while True:
            counts = await client.info("commandstats")
            if counts.get("cmdstat_ping", {}).get("calls", 0) >= times:
                return
            await asyncio.sleep(0.02)


async def test_what_is_published_arrives_and_the_publisher_knows(own_redis: tuple[RedisNode, RunningNode]) -> None:
    settings = RedisSettings(url=own_redis[0].url)
    listener, publisher = RedisRelay(settings), RedisRelay(settings)
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    listener.listen("here", arrived.put_nowait)
    async with asyncio.timeout(WAIT_SECONDS):
        await listener.wait_listening()
        assert await publisher.publish("here", b"\x00\xff") == 1
        assert await publisher.publish("elsewhere", b"x") == 0
        assert await arrived.get() == b"\x00\xff"
        await listener.close()
        await publish_until_unheard(publisher, b"x")
    await publisher.close()


async def test_a_redis_that_comes_back_is_used_again(own_redis: tuple[RedisNode, RunningNode]) -> None:
    node, running = own_redis
    relay = RedisRelay(RedisSettings(url=node.url))
    arrived: asyncio.Queue[bytes] = asyncio.Queue()
    relay.listen("here", arrived.put_nowait)
    async with asyncio.timeout(WAIT_SECONDS):
        await relay.wait_listening()
        await asyncio.to_thread(running.kill)
        with pytest.raises(TransportUnavailableError):
            await relay.publish("here", b"lost")
        await asyncio.to_thread(running.start)
        await publish_until_heard(relay, b"found")
        assert await arrived.get() == b"found"
    await relay.close()


async def test_a_listener_that_was_cut_off_without_a_word_notices_and_listens_again(
    own_redis: tuple[RedisNode, RunningNode],
) -> None:
    with Link(own_redis[0].url) as link:
        listener = RedisRelay(RedisSettings(url=link.urls[0]), health_seconds=0.3)
        publisher = RedisRelay(RedisSettings(url=own_redis[0].url))
        arrived: asyncio.Queue[bytes] = asyncio.Queue()
        listener.listen("here", arrived.put_nowait)
        async with asyncio.timeout(WAIT_SECONDS):
            await listener.wait_listening()
            await wait_asked(own_redis[0], times=3)
            assert listener.is_listening, "a connection with an answer to every question is not given up"
            link.cut()
            await wait_lost(listener)
            link.mend()
            await listener.wait_listening()
            await publish_until_heard(publisher, b"again")
            assert await arrived.get() == b"again"
        await listener.close()
        await publisher.close()
