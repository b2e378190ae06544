"""The contract of a store of retained generations, which memory and Redis pass alike."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

import pytest
from msgspec import structs
from redis.asyncio import Redis

from headrace.apps.cli.nodes import RedisNode
from headrace.schema.events import Event, GenerationFinished, GenerationStarted, SequenceDelta, SequenceStarted, Usage
from headrace.schema.settings import RedisSettings
from headrace.transport.redis import RedisRetentionStore
from headrace.transport.retention import (
    EventLog,
    IdempotencyClaim,
    MemoryRetention,
    MemoryRetentionStore,
    Opened,
    RetainedHead,
    RetentionFullError,
    RetentionLimits,
    RetentionStore,
)
from tests.support.recorders import Recorder
from tests.support.values import fresh_name

WAIT_SECONDS = 20
SOME: tuple[Event, ...] = (GenerationStarted("w", 3), SequenceStarted(0), SequenceDelta(0, "a", (1,)))
MORE: tuple[Event, ...] = (SequenceDelta(0, "b", (2,)),)
END: tuple[Event, ...] = (GenerationFinished(Usage(3, 2)),)
# Clocks of processes are those of 2023 in some of these tests: deadlines must be ahead of Redis's own.
DEADLINE = 4_000_000_000.0


class Owner(Recorder):
    """A `RetentionOwner`."""

    def __init__(self) -> None:
        super().__init__()
        self.cancelled: list[str] = []
        self.lost: list[str] = []

    def cancel_owned(self, request_id: str) -> None:
        self.cancelled.append(request_id)
        self.changed()

    def lose_owned(self, request_id: str) -> None:
        self.lost.append(request_id)
        self.changed()


class Harness(Protocol):
    """Makes stores that see the same generations, and lets a lease run out."""

    async def start(self, owner: Owner) -> RetentionStore: ...

    async def lapse(self, request_id: str) -> None: ...

    async def close(self) -> None: ...


class MemoryHarness:
    def __init__(self, limits: RetentionLimits) -> None:
        self._shared = MemoryRetention(limits, clock=lambda: 1000.0)
        self._stores: list[RetentionStore] = []

    async def start(self, owner: Owner) -> RetentionStore:
        store = MemoryRetentionStore(self._shared)
        await store.start(owner)
        self._stores.append(store)
        return store

    async def lapse(self, request_id: str) -> None:
        self._shared.kept[request_id].lease_until = 0.0

    async def close(self) -> None:
        for store in self._stores:
            await store.close()


class RedisHarness(MemoryHarness):
    def __init__(self, limits: RetentionLimits, settings: RedisSettings) -> None:
        super().__init__(limits)
        self._limits = limits
        self._settings = settings

    async def start(self, owner: Owner) -> RetentionStore:
        store = RedisRetentionStore(self._settings, self._limits, owner=fresh_name("owner"), clock=lambda: 1000.0)
        await store.start(owner)
        self._stores.append(store)
        return store

    async def lapse(self, request_id: str) -> None:
        client: Any = Redis.from_url(self._settings.url)  # pyright: ignore[reportUnknownMemberType]
        await client.zadd("headrace:running", {request_id: 0}, xx=True)
        await client.aclose()


databases = itertools.cycle(range(1, 16))


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
async def open_harness(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[RetentionLimits], Harness]]:
    opened: list[Harness] = []

    def open_(limits: RetentionLimits) -> Harness:
        if request.param == "memory":
            harness = MemoryHarness(limits)
        else:
            node: RedisNode = request.getfixturevalue("redis_node")
            # A database of its own for each test: how much there is counts.
            number = next(databases)
            harness = RedisHarness(limits, RedisSettings(url=f"{node.url.removesuffix('/0')}/{number}"))
        opened.append(harness)
        return harness

    yield open_
    for harness in opened:
        await harness.close()


@pytest.fixture
def harness(open_harness: Callable[[RetentionLimits], Harness]) -> Harness:
    return open_harness(RetentionLimits(seconds=60.0, max_count=10_000, max_total_bytes=2**20))


@pytest.fixture
async def store(harness: Harness) -> RetentionStore:
    return await harness.start(Owner())


def head_of(request_id: str | None = None, *, claim: IdempotencyClaim | None = None) -> RetainedHead:
    return RetainedHead(
        request_id=request_id or fresh_name("gen"),
        tenant_id="tenant",
        submission=b"\x00\xffsubmission",
        submitted_at=1000.5,
        deadline=DEADLINE,
        claim=claim,
    )


async def open_log(store: RetentionStore, head: RetainedHead) -> EventLog:
    log = (await store.open(head)).log
    assert log is not None
    return log


async def read_all(log: EventLog, *, after: int = 0) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while batch := await log.read(after + len(events)):
            events.extend(batch)
    return events


async def read_until(log: EventLog, count: int) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(WAIT_SECONDS):
        while len(events) < count:
            events.extend(await log.read(len(events)))
    return events


async def test_a_generation_is_found_by_everybody_as_it_was_opened(harness: Harness, store: RetentionStore) -> None:
    await store.check()
    head = head_of(claim=IdempotencyClaim(key=fresh_name("key"), sha256="abc"))
    assert (await store.open(head)).request_id == head.request_id
    other = await harness.start(Owner())
    assert await other.find(head.request_id) == head
    assert await other.find(fresh_name("none")) is None


async def test_events_reach_readers_of_every_process_once_and_in_order(harness: Harness, store: RetentionStore) -> None:
    head = head_of()
    log = await open_log(store, head)
    other = await harness.start(Owner())
    early = await other.follow(head)
    store.write(log, SOME)
    assert await read_until(early, 3) == list(SOME)
    late = await other.follow(head)
    own = await store.follow(head)
    store.write(log, MORE)
    store.write(log, END)
    for reader in (early, late, own):
        assert await read_all(reader) == [*SOME, *MORE, *END]
        assert await read_all(reader, after=3) == [*MORE, *END]
    for reader in (early, late):
        other.unfollow(reader)
    after_the_end = await other.follow(head)
    assert await read_all(after_the_end) == [*SOME, *MORE, *END]


async def test_what_is_known_of_a_generation_is_kept_with_it(harness: Harness, store: RetentionStore) -> None:
    head = head_of()
    log = await open_log(store, head)
    store.write(log, facts=b"known")
    store.write(log, SOME)
    other = await harness.start(Owner())
    await read_until(await other.follow(head), 3)
    found = await other.find(head.request_id)
    assert found is not None
    assert (found.facts, found.count) == (b"known", 3)


async def test_of_many_calls_with_one_key_in_two_processes_one_opens(harness: Harness, store: RetentionStore) -> None:
    other = await harness.start(Owner())
    claim = IdempotencyClaim(key=fresh_name("key"), sha256="abc")
    heads = [head_of(claim=claim) for _ in range(10)]
    opened: list[Opened] = await asyncio.gather(*((store, other)[i % 2].open(head) for i, head in enumerate(heads)))
    assert sum(item.log is not None for item in opened) == 1
    assert len({item.request_id for item in opened}) == 1
    assert {item.sha256 for item in opened if item.log is None} == {"abc"}


@pytest.mark.parametrize("frees_key", [True, False])
async def test_a_key_is_kept_after_the_end_unless_it_is_freed(store: RetentionStore, *, frees_key: bool) -> None:
    claim = IdempotencyClaim(key=fresh_name("key"), sha256="abc")
    head = head_of(claim=claim)
    log = await open_log(store, head)
    store.write(log, END, frees_key=frees_key)
    await read_all(log)
    again = await store.open(head_of(claim=claim))
    assert (again.log is not None) == frees_key


async def test_one_that_is_forgotten_is_told_to_its_readers_and_takes_no_room(
    open_harness: Callable[[RetentionLimits], Harness],
) -> None:
    harness = open_harness(RetentionLimits(seconds=60.0, max_count=2, max_total_bytes=2**20))
    store, other = await harness.start(Owner()), await harness.start(Owner())
    kept = head_of()
    kept_log = await open_log(store, kept)
    store.write(kept_log, END)
    await read_all(kept_log)
    claim = IdempotencyClaim(key=fresh_name("key"), sha256="abc")
    for _ in range(3):
        head = head_of(claim=claim)
        log = await open_log(store, head)
        reader = await other.follow(head)
        store.write(log, END, forgets=True)
        assert await read_all(log) == await read_all(reader) == list(END)
        assert await other.find(head.request_id) is None
    assert await other.find(kept.request_id) == structs.replace(kept, count=1)


async def test_a_cancel_reaches_the_owner_from_another_process(harness: Harness) -> None:
    owner = Owner()
    store = await harness.start(owner)
    head = head_of()
    log = await open_log(store, head)
    other = await harness.start(Owner())
    assert await other.request_cancel(head.request_id)
    await owner.until(lambda: owner.cancelled == [head.request_id])
    found = await other.find(head.request_id)
    assert found is not None
    assert found.is_cancelled
    store.write(log, END)
    await read_all(log)
    assert not await other.request_cancel(head.request_id)


async def test_what_runs_is_claimed_by_nobody_and_what_was_released_by_one(harness: Harness) -> None:
    owner = Owner()
    store = await harness.start(owner)
    head = head_of()
    log = await open_log(store, head)
    store.write(log, SOME, facts=b"known")
    others = [await harness.start(Owner()) for _ in range(2)]
    reader = await others[0].follow(head)
    assert await others[0].claim_orphan() is None
    await store.release()
    claimed = [orphan for other in others if (orphan := await other.claim_orphan()) is not None]
    (orphan,) = claimed
    assert orphan.head.request_id == head.request_id
    assert orphan.head.facts == b"known"
    assert orphan.log.events == list(SOME)
    for other in others:
        # Of both, only the one that claimed it writes.
        other.write(orphan.log, [*MORE, *END])
    assert await read_all(reader) == [*SOME, *MORE, *END]


async def test_one_of_our_own_is_no_orphan_of_ours(harness: Harness) -> None:
    owner = Owner()
    store = await harness.start(owner)
    log = await open_log(store, head_of())
    store.write(log, SOME)
    await read_until(log, 3)
    await harness.lapse(log.request_id)
    assert await store.claim_orphan() is None
    store.write(log, END)
    assert await read_all(log) == [*SOME, *END]
    assert owner.lost == []


async def test_one_that_was_disowned_is_claimed_by_whoever_comes_when_its_lease_has_run_out(harness: Harness) -> None:
    store, other = await harness.start(Owner()), await harness.start(Owner())
    log = await open_log(store, head_of())
    store.disown(log)
    assert await other.claim_orphan() is None
    await harness.lapse(log.request_id)
    orphan = await other.claim_orphan()
    assert orphan is not None
    assert orphan.head.request_id == log.request_id


@pytest.fixture
def small(open_harness: Callable[[RetentionLimits], Harness]) -> Harness:
    return open_harness(RetentionLimits(seconds=60.0, max_count=2, max_total_bytes=2**20))


async def test_one_that_has_ended_makes_room_and_one_that_runs_does_not(small: Harness) -> None:
    store = await small.start(Owner())
    first, second, third = head_of(), head_of(), head_of()
    log = await open_log(store, first)
    await open_log(store, second)
    with pytest.raises(RetentionFullError):
        await store.open(head_of())
    store.write(log, END)
    await read_all(log)
    new = await open_log(store, third)
    store.write(new, SOME, facts=b"known")
    await read_until(new, 3)
    assert await store.find(first.request_id) is None
    assert await store.find(second.request_id) is not None
    with pytest.raises(RetentionFullError):
        await store.open(head_of())


async def test_one_that_is_refused_takes_the_place_of_nothing(small: Harness) -> None:
    store = await small.start(Owner())
    kept = [head_of(), head_of()]
    for head in kept:
        log = await open_log(store, head)
        store.write(log, facts=b"known")
        store.write(log, END)
        await read_all(log)
    refused = [await open_log(store, head_of()) for _ in range(2)]
    for log in refused:
        store.write(log, END, forgets=True)
        await read_all(log)
    assert [await store.find(head.request_id) is not None for head in kept] == [True, True]
