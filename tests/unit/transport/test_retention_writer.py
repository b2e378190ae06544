"""What the writer of retained generations does after Redis has lost them."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from headrace.schema.events import Event, GenerationFinished, GenerationStarted, SequenceDelta, SequenceStarted, Usage
from headrace.transport.redis.retention_writer import OwnedLog, RetentionWriter
from headrace.transport.retention import EventLog, IdempotencyClaim, RetainedHead, RetentionFullError
from headrace.transport.tasks import TaskOwner
from tests.support.recorders import Recorder

HEAD = RetainedHead(
    request_id="gen_a",
    tenant_id="t",
    submission=b"",
    submitted_at=0.0,
    deadline=1.0,
    claim=IdempotencyClaim(key="k", sha256="s"),
)
SOME: tuple[Event, ...] = (GenerationStarted("w", 3), SequenceStarted(0), SequenceDelta(0, "a", (1,)))
END: tuple[Event, ...] = (GenerationFinished(Usage(3, 2)),)


class EmptyRedis(Recorder):
    """A client of a Redis that has lost its data, and that has a generation again once it is opened."""

    def __init__(self, *, held: bool = False, full: bool = False, forgets: bool = False) -> None:
        super().__init__()
        self.opened: list[RetainedHead] = []
        self.writes = 0
        self._held = held
        self._full = full
        self._forgets = forgets
        self._is_there = False
        self._batch = 0

    async def reopen(self, head: RetainedHead) -> str:
        self.opened.append(head)
        self.changed()
        if self._full:
            raise RetentionFullError
        if self._held and head.claim is not None:
            return "gen_newer s"
        self._is_there = not self._forgets
        return ""

    def pipeline(self, *, transaction: bool) -> "EmptyRedis":
        assert not transaction
        self._batch = 0
        return self

    def eval(self, _script: str, keys: int, *arguments: Any) -> Any:
        if keys == 1:
            return self._renew(len(arguments) - 3)
        self._batch += 1
        return self

    async def _renew(self, count: int) -> list[int]:
        return [1] * count

    async def execute(self) -> list[int]:
        self.writes += 1
        self.changed()
        return [1 if self._is_there else -1] * self._batch


@pytest.fixture
async def tasks() -> AsyncIterator[TaskOwner]:
    owner = TaskOwner()
    yield owner
    await owner.close()


def start_writer(redis: EmptyRedis, tasks: TaskOwner) -> tuple[RetentionWriter, OwnedLog]:
    writer = RetentionWriter(
        redis, owner="me", keep_ms=1000, max_count=100, on_lost=lambda _: None, reopen=redis.reopen
    )
    writer.start(tasks)
    owned = OwnedLog(HEAD, EventLog("gen_a"))
    writer.own(owned)
    return writer, owned


def write(writer: RetentionWriter, owned: OwnedLog, events: tuple[Event, ...], *, ends: bool = False) -> None:
    owned.log.add(events)
    owned.end = "keep" if ends else ""
    writer.mark(owned)


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_a_key_that_another_has_by_now_is_left_to_it(tasks: TaskOwner) -> None:
    redis = EmptyRedis(held=True)
    writer, owned = start_writer(redis, tasks)
    write(writer, owned, SOME)
    await redis.until(lambda: redis.writes == 2)
    await settle()
    assert [head.claim for head in redis.opened] == [HEAD.claim, None]
    assert (owned.waiting, owned.written, owned.log.shown) == ([], len(SOME), len(SOME))


async def test_where_there_is_no_room_nothing_turns(tasks: TaskOwner) -> None:
    redis = EmptyRedis(full=True)
    writer, owned = start_writer(redis, tasks)
    write(writer, owned, SOME)
    await redis.until(lambda: bool(redis.opened))
    await settle()
    assert (redis.writes, len(redis.opened), owned.log.shown) == (1, 1, len(SOME))
    assert writer.find("gen_a") is owned
    write(writer, owned, END, ends=True)
    await redis.until(lambda: len(redis.opened) == 2)
    await settle()
    assert owned.log.is_over
    assert writer.find("gen_a") is None


async def test_a_redis_that_keeps_nothing_is_not_asked_without_a_pause(tasks: TaskOwner) -> None:
    redis = EmptyRedis(forgets=True)
    writer, owned = start_writer(redis, tasks)
    write(writer, owned, SOME)
    await redis.until(lambda: bool(redis.opened))
    await settle()
    assert redis.writes == 1
