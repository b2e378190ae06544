"""The store of responses holds no more than it may, and for no longer."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.dialects.openai.responses.store import MemoryResponseStore, StoredResponse


def record(name: str, size: int = 0) -> StoredResponse:
    return StoredResponse(id=name, response=b"x" * size, items=b"")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def make_store(clock: Clock, *, size: int = 10_000, count: int = 100) -> MemoryResponseStore:
    return MemoryResponseStore(max_bytes=size, max_count=count, max_seconds=10.0, clock=clock)


async def test_what_is_kept_is_found_until_its_time_is_over() -> None:
    clock = Clock()
    store = make_store(clock)
    await store.put(record("a"))
    clock.now = 9.0
    await store.put(record("b"))
    assert await store.get("a") == record("a")
    clock.now = 10.0
    assert (await store.get("a"), await store.get("b")) == (None, record("b"))
    assert store.size_bytes == record("b").size_bytes


async def test_the_oldest_goes_first() -> None:
    store = make_store(Clock(), count=2)
    for name in "abc":
        await store.put(record(name))
    assert [await store.get(name) for name in "abc"] == [None, record("b"), record("c")]


async def test_a_response_takes_the_place_of_an_older_one() -> None:
    store = make_store(Clock())
    await store.put(record("a"))
    await store.put(record("a", 5))
    assert await store.get("a") == record("a", 5)
    assert store.size_bytes == record("a", 5).size_bytes
    await store.put(record("a", 20_000))
    assert (await store.get("a"), store.size_bytes) == (None, 0)


async def test_deleting() -> None:
    store = make_store(Clock())
    await store.put(record("a"))
    assert (await store.delete("a"), await store.delete("a")) == (True, False)


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 3000), st.floats(0, 5)), max_size=20))
async def test_it_never_holds_more_than_it_may(puts: list[tuple[str, int, float]]) -> None:
    clock = Clock()
    store = make_store(clock, size=6000, count=3)
    for name, size, pause in puts:
        clock.now += pause
        await store.put(record(name, size))
        kept = [found for found in [await store.get(other) for other in "abcdef"] if found is not None]
        assert sum(found.size_bytes for found in kept) == store.size_bytes <= 6000
        assert len(kept) <= 3
        assert await store.get(name) == record(name, size)
