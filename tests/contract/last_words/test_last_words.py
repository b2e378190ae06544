"""The contract of the place for last words, which memory and Redis pass alike."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from headrace.apps.cli.nodes import RedisNode, running_redis
from headrace.schema.events import Usage
from headrace.schema.last_word import LastWord
from headrace.schema.settings import RedisSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.last_words import LastWords, MemoryLastWords
from headrace.transport.redis import RedisLastWords
from tests.support.values import fresh_name

KEPT_SECONDS = 0.3
WAIT_SECONDS = 10


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.services)])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def open_place(kind: str, request: pytest.FixtureRequest, *, kept_seconds: float = 60.0) -> LastWords:
    if kind == "memory":
        return MemoryLastWords(kept_seconds=kept_seconds)
    node: RedisNode = request.getfixturevalue("redis_node")
    return RedisLastWords(RedisSettings(url=node.url), kept_seconds=kept_seconds)


@pytest.fixture
async def place(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[LastWords]:
    place = open_place(kind, request)
    yield place
    await place.close()


def make_word(request_id: str, *, attempt: int = 1, output_tokens: int = 5) -> LastWord:
    return LastWord(request_id, attempt, "worker", Usage(3, output_tokens, 1, 2), 1000.5, "model")


async def test_a_word_is_found_again_and_again(place: LastWords) -> None:
    word = make_word(fresh_name("gen"))
    await place.leave([word])
    for _ in range(2):
        assert await place.read([fresh_name("gen"), word.request_id]) == [word]


async def test_nothing_is_nothing(place: LastWords) -> None:
    await place.leave([])
    assert await place.read([]) == []
    assert await place.read([fresh_name("gen")]) == []


async def test_of_one_attempt_the_later_word_stays_and_attempts_stand_side_by_side(place: LastWords) -> None:
    name = fresh_name("gen")
    first, second = make_word(name, attempt=1), make_word(name, attempt=2, output_tokens=9)
    await place.leave([first, second])
    await place.leave([later := make_word(name, attempt=1, output_tokens=7)])
    assert sorted(await place.read([name]), key=lambda word: word.attempt) == [later, second]


async def test_many_at_once(place: LastWords) -> None:
    words = [make_word(fresh_name("gen"), output_tokens=count) for count in range(1200)]
    await place.leave(words)
    async with asyncio.TaskGroup() as group:
        reads = [group.create_task(place.read([word.request_id for word in words])) for _ in range(3)]
    for read in reads:
        assert sorted(read.result(), key=lambda word: word.usage.output_tokens) == words


async def test_a_word_goes_by_itself(kind: str, request: pytest.FixtureRequest) -> None:
    place = open_place(kind, request, kept_seconds=KEPT_SECONDS)
    word = make_word(fresh_name("gen"))
    await place.leave([word])
    async with asyncio.timeout(WAIT_SECONDS):
        while await place.read([word.request_id]):  # noqa: ASYNC110 - it goes without a word
            await asyncio.sleep(0.02)
    await place.close()


@pytest.mark.services
async def test_a_redis_that_is_away_says_so(tmp_path: Path) -> None:
    with running_redis(tmp_path) as (node, process):
        place = RedisLastWords(RedisSettings(url=node.url))
        word = make_word(fresh_name("gen"))
        await place.leave([word])
        await asyncio.to_thread(process.kill)
        with pytest.raises(TransportUnavailableError):
            await place.leave([word])
        with pytest.raises(TransportUnavailableError):
            await place.read([word.request_id])
        await place.close()
