"""Retained generations on a Redis that is killed: what nobody writes again has ended for those who follow it."""

import asyncio
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from headrace.apps.cli.nodes import RedisNode, RunningNode, running_redis
from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, GenerationFailed, GenerationStarted, SequenceDelta, SequenceStarted
from headrace.schema.settings import RedisSettings
from headrace.transport.redis import RedisRetentionStore
from headrace.transport.retention import EventLog, RetainedHead, RetentionLimits
from tests.support.values import fresh_name

pytestmark = pytest.mark.services

WAIT_SECONDS = 30
LIMITS = RetentionLimits(seconds=60.0, max_count=100, max_total_bytes=2**20)
SOME: tuple[Event, ...] = (GenerationStarted("w", 3), SequenceStarted(0), SequenceDelta(0, "a", (1,)))


class Owner:
    """A `RetentionOwner` that is asked for nothing."""

    def cancel_owned(self, request_id: str) -> None: ...

    def lose_owned(self, request_id: str) -> None: ...


@pytest.fixture
def own_redis(tmp_path: Path) -> Generator[tuple[RedisNode, RunningNode]]:
    with running_redis(tmp_path) as running:
        yield running


async def open_store(node: RedisNode) -> RedisRetentionStore:
    store = RedisRetentionStore(RedisSettings(url=node.url), LIMITS, owner=fresh_name("owner"), restored_seconds=6.0)
    await store.start(Owner())
    return store


async def open_log(store: RedisRetentionStore) -> EventLog:
    now = time.time()
    head = RetainedHead(
        request_id=fresh_name("gen"), tenant_id="t", submission=b"s", submitted_at=now, deadline=now + 600.0
    )
    log = (await store.open(head)).log
    assert log is not None
    store.write(log, SOME)
    while log.shown < len(SOME):
        await log.read(log.shown)
    return log


async def follow(store: RedisRetentionStore, log: EventLog) -> EventLog:
    head = await store.find(log.request_id)
    assert head is not None
    followed = await store.follow(head)
    assert tuple(await followed.read(0)) == SOME
    return followed


async def test_who_follows_what_lost_its_owner_and_then_its_log_is_told_so(
    own_redis: tuple[RedisNode, RunningNode],
) -> None:
    node, running = own_redis
    dies, lives, reader = [await open_store(node) for _ in range(3)]
    async with asyncio.timeout(WAIT_SECONDS):
        lost, kept = await follow(reader, await open_log(dies)), await follow(reader, own := await open_log(lives))
        await dies.close()
        await asyncio.to_thread(running.kill)
        await asyncio.to_thread(running.start)
        (failure,) = await lost.read(len(SOME))
        assert isinstance(failure, GenerationFailed)
        assert (failure.code, failure.retryable) == (ErrorCode.STREAM_BROKEN, True)
        # Its owner has written it again, and it goes on.
        more: tuple[Event, ...] = (SequenceDelta(0, "b", (2,)),)
        lives.write(own, more)
        assert tuple(await kept.read(len(SOME))) == more
        await lives.close()
        await reader.close()
