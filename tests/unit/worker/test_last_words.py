"""What a worker leaves of generations that nobody reads: each once, also while the place is away, and no more."""

import asyncio
from collections.abc import Sequence

from headrace.schema.events import Usage
from headrace.schema.last_word import LastWord
from headrace.transport.base import TransportUnavailableError
from headrace.transport.last_words import MemoryLastWords
from headrace.worker.last_words import MOST_ENDED, LastWordWriter
from tests.support.recorders import Recorder


class Place(Recorder):
    """A place that can be away, and says what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = MemoryLastWords()
        self.is_away = False
        self.refused = 0
        self.batches: list[list[str]] = []
        self.closed = False

    async def leave(self, words: Sequence[LastWord]) -> None:
        await asyncio.sleep(0)
        if self.is_away:
            self.refused += 1
            self.changed()
            raise TransportUnavailableError("away")
        await self.inner.leave(words)
        self.batches.append([word.request_id for word in words])
        self.changed()

    async def read(self, request_ids: Sequence[str]) -> list[LastWord]:
        return await self.inner.read(request_ids)

    async def close(self) -> None:
        self.closed = True


def make_word(request_id: str, *, output_tokens: int = 5) -> LastWord:
    return LastWord(request_id, 1, "worker", Usage(3, output_tokens), 1000.0)


async def test_an_orphan_is_left_at_once_and_what_was_read_never() -> None:
    place = Place()
    writer = LastWordWriter(place)
    writer.note(make_word("read"), is_orphan=False)
    writer.note(make_word("orphan"), is_orphan=True)
    await writer.close()
    assert place.batches == [["orphan"]]
    assert place.closed


async def test_one_that_ended_before_its_reader_was_missed_is_left_once() -> None:
    place = Place()
    writer = LastWordWriter(place)
    writer.note(make_word("late"), is_orphan=False)
    writer.orphan("late")
    await place.until(lambda: place.batches == [["late"]])
    writer.orphan("late")
    writer.orphan("nobody knows this one")
    await writer.close()
    assert place.batches == [["late"]]


async def test_what_ended_long_ago_is_forgotten() -> None:
    place = Place()
    writer = LastWordWriter(place)
    for number in range(MOST_ENDED + 1):
        writer.note(make_word(str(number)), is_orphan=False)
    writer.orphan("0")
    writer.orphan("1")
    await writer.close()
    assert place.batches == [["1"]]


async def test_a_place_that_is_away_gets_them_when_it_is_back() -> None:
    place = Place()
    place.is_away = True
    writer = LastWordWriter(place)
    writer.note(make_word("a"), is_orphan=True)
    await place.until(lambda: place.refused > 0)
    writer.note(make_word("b"), is_orphan=True)
    # Said better meanwhile.
    writer.note(make_word("a", output_tokens=9), is_orphan=True)
    place.is_away = False
    await place.until(lambda: bool(place.batches))
    await writer.close()
    assert [word.usage.output_tokens for word in await place.read(["a"])] == [9]
    assert [word.request_id for word in await place.read(["b"])] == ["b"]


async def test_an_end_does_not_wait_for_a_place_that_stays_away() -> None:
    place = Place()
    place.is_away = True
    writer = LastWordWriter(place)
    writer.note(make_word("a"), is_orphan=True)
    async with asyncio.timeout(10):
        await writer.close()
    assert place.closed


async def test_without_a_place_nothing_happens() -> None:
    writer = LastWordWriter(None)
    writer.note(make_word("a"), is_orphan=True)
    writer.orphan("a")
    await writer.close()
