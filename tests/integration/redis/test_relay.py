"""The relay on a real Redis, which is killed and comes back."""

import asyncio
from collections.abc import Generator
from pathlib import Path

import pytest

from headrace.apps.cli.nodes import RedisNode, RunningNode, running_redis
from headrace.schema.settings import RedisSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.redis import RedisRelay

WAIT_SECONDS = 20


@pytest.fixture
def redis(tmp_path: Path) -> Generator[tuple[RedisNode, RunningNode]]:
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


async def test_what_is_published_arrives_and_the_publisher_knows(redis: tuple[RedisNode, RunningNode]) -> None:
    settings = RedisSettings(url=redis[0].url)
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


async def test_a_redis_that_comes_back_is_used_again(redis: tuple[RedisNode, RunningNode]) -> None:
    node, running = redis
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
