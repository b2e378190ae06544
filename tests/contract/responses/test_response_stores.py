"""The contract of a store of responses, which memory, shared records and Redis pass alike."""

from collections.abc import AsyncIterator

import pytest

from headrace.apps.cli.nodes import RedisNode
from headrace.gateway.dialects.openai.responses.shared import SharedResponseStore
from headrace.gateway.dialects.openai.responses.store import MemoryResponseStore, ResponseStore, StoredResponse
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import RedisSettings
from headrace.transport.records import MemoryRecords
from headrace.transport.redis import RedisRecords
from tests.support.values import fresh_name

MAX_BYTES = 10_000


@pytest.fixture(params=["memory", "shared", pytest.param("redis", marks=pytest.mark.services)])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[ResponseStore]:
    if request.param == "memory":
        yield MemoryResponseStore(max_bytes=MAX_BYTES, max_count=100, max_seconds=60.0)
        return
    if request.param == "shared":
        yield SharedResponseStore(MemoryRecords(), max_bytes=MAX_BYTES, max_seconds=60.0)
        return
    node: RedisNode = request.getfixturevalue("redis_node")
    records = RedisRecords(RedisSettings(url=node.url), prefix=fresh_name("test"))
    yield SharedResponseStore(records, max_bytes=MAX_BYTES, max_seconds=60.0)
    await records.close()


def record(name: str, size: int = 0) -> StoredResponse:
    return StoredResponse(id=name, response=b"\x00" * size, items=b"[]", tenant_id="t", local_only=True)


async def test_what_is_kept_is_found_as_it_was(store: ResponseStore) -> None:
    await store.put(record("a", 5))
    assert await store.get("a") == record("a", 5)
    assert await store.get("b") is None


async def test_one_takes_the_place_of_an_older_one(store: ResponseStore) -> None:
    await store.put(record("a"))
    await store.put(record("a", 5))
    assert await store.get("a") == record("a", 5)


async def test_what_is_too_large_is_forgotten(store: ResponseStore) -> None:
    await store.put(record("a"))
    await store.put(record("a", MAX_BYTES))
    assert await store.get("a") is None


async def test_what_was_deleted_is_not_replaced(store: ResponseStore) -> None:
    await store.put(record("a"))
    await store.replace(record("a", 5))
    assert await store.get("a") == record("a", 5)
    assert await store.delete("a")
    assert not await store.delete("a")
    await store.replace(record("a", 5))
    assert await store.get("a") is None


async def test_a_redis_that_is_away_is_said_without_its_address() -> None:
    records = RedisRecords(RedisSettings(url="redis://127.0.0.1:1/0"), prefix="p")
    store = SharedResponseStore(records, max_bytes=MAX_BYTES, max_seconds=60.0)
    for call in (store.get("a"), store.delete("a"), store.put(record("a")), store.replace(record("a"))):
        with pytest.raises(HeadraceError) as caught:
            await call
        assert caught.value.code == ErrorCode.BROKER_UNAVAILABLE
        assert "127.0.0.1" not in caught.value.message
    await records.close()
