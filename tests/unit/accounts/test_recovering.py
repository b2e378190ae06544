"""What a dead gateway ran is charged with what workers say of it, once that is known, and else with what was noted."""

import asyncio
from collections.abc import Sequence

import pytest

from headrace.accounts.ledger.base import LOST, UsageRow
from headrace.accounts.ledger.entries import Lost, Opened, Remains, Seen
from headrace.accounts.metering.recovering import RecoveryPatience, WordRecovery, apply_words, may_have_word
from headrace.schema.events import Usage
from headrace.schema.last_word import LastWord
from headrace.transport.base import TransportUnavailableError
from headrace.transport.last_words import MemoryLastWords

WAIT_SECONDS = 10
LONG = RecoveryPatience(word_seconds=3600.0, adoption_seconds=3600.0)


def make_lost(
    request_id: str = "a",
    *,
    usage: Usage = Usage(0, 0),  # noqa: B008 - a value
    route: str = "own",
    retained: bool = False,
    task_id: str = "",
) -> Lost:
    remains = Remains()
    remains.add(Opened(request_id=request_id, tenant_id="t", model="demo", started_at=1000, retained=retained))
    if route:
        seen = Seen(request_id=request_id, at=2000, usage=usage, route=route, target="demo", task_id=task_id)
        remains.add(seen)
    (lost,) = remains.lost()
    return lost


def make_word(request_id: str = "a", *, usage: Usage, attempt: int = 1) -> LastWord:
    return LastWord(request_id, attempt, "worker", usage, 4.0, "deployment")


class Settled:
    """Keeps what is settled."""

    def __init__(self) -> None:
        self.rows: list[UsageRow] = []
        self.owners: list[str] = []

    async def __call__(self, owner: str, rows: Sequence[UsageRow]) -> Sequence[UsageRow]:
        self.owners.append(owner)
        self.rows += rows
        return rows


class CountedWords(MemoryLastWords):
    """Says when it is read, and can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0
        self.asked: list[str] = []
        self.is_away = False
        self._read = asyncio.Event()

    async def read(self, request_ids: Sequence[str]) -> list[LastWord]:
        self.reads += 1
        self.asked = list(request_ids)
        self._read.set()
        if self.is_away:
            raise TransportUnavailableError("away")
        return await super().read(request_ids)

    async def until_read(self, times: int) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            while self.reads < times:
                self._read.clear()
                await self._read.wait()


class Rig:
    def __init__(self, patience: RecoveryPatience = LONG) -> None:
        self.settled = Settled()
        self.words = CountedWords()
        self.now = 0.0
        self.stop = asyncio.Event()
        self.recovery = WordRecovery(self.settled, self.words, patience=patience, clock=lambda: self.now)

    async def recover(self, *lost: Lost) -> Sequence[UsageRow] | None:
        async with asyncio.timeout(WAIT_SECONDS):
            return await self.recovery.recover("dead", lost, stop=self.stop)


@pytest.fixture
def rig() -> Rig:
    return Rig()


async def test_a_word_that_is_there_is_used_at_once(rig: Rig) -> None:
    await rig.words.leave([make_word(usage=Usage(7, 40, 2, 3))])
    rows = await rig.recover(make_lost(usage=Usage(7, 11)))
    assert rows == rig.settled.rows
    (row,) = rig.settled.rows
    assert rig.settled.owners == ["dead"]
    assert (row.outcome, row.usage, row.ended_at, row.total_ms) == (LOST, Usage(7, 40, 2, 3), 4000, 3000)
    assert rig.words.reads == 1


async def test_a_word_that_is_missing_is_waited_for(rig: Rig) -> None:
    async with asyncio.TaskGroup() as group:
        recovering = group.create_task(rig.recover(make_lost(), make_lost("b")))
        await rig.words.leave([make_word("b", usage=Usage(1, 2))])
        await rig.words.until_read(2)
        assert rig.settled.rows == []
        await rig.words.leave([make_word("a", usage=Usage(3, 4))])
        await recovering
    assert [row.usage for row in rig.settled.rows] == [Usage(3, 4), Usage(1, 2)]


async def test_what_no_word_comes_of_is_charged_as_it_was_noted(rig: Rig) -> None:
    async with asyncio.TaskGroup() as group:
        recovering = group.create_task(rig.recover(make_lost(usage=Usage(7, 11))))
        await rig.words.until_read(1)
        rig.now = 3600.0
        await recovering
    (row,) = rig.settled.rows
    assert (row.usage, row.ended_at) == (Usage(7, 11), 2000)


async def test_a_place_that_is_away_is_asked_until_there_is_no_more_time(rig: Rig) -> None:
    rig.words.is_away = True
    async with asyncio.TaskGroup() as group:
        recovering = group.create_task(rig.recover(make_lost(usage=Usage(7, 11))))
        await rig.words.until_read(2)
        rig.now = 3600.0
        await recovering
    assert [row.usage for row in rig.settled.rows] == [Usage(7, 11)]


async def test_a_stop_settles_nothing(rig: Rig) -> None:
    async with asyncio.TaskGroup() as group:
        recovering = group.create_task(rig.recover(make_lost()))
        await rig.words.until_read(1)
        rig.stop.set()
        assert await recovering is None
    assert rig.settled.rows == []


async def test_what_a_provider_ran_is_waited_for_by_nobody(rig: Rig) -> None:
    await rig.recover(make_lost(usage=Usage(7, 11), route="provider:up"))
    assert [row.usage for row in rig.settled.rows] == [Usage(7, 11)]
    assert rig.words.asked == []


async def test_what_was_retained_waits_for_its_adoption() -> None:
    rig = Rig(RecoveryPatience(word_seconds=0.0, adoption_seconds=12.0))
    async with asyncio.TaskGroup() as group:
        recovering = group.create_task(rig.recover(make_lost(retained=True)))
        await rig.words.until_read(2)
        rig.now = 12.0
        await recovering
    assert len(rig.settled.rows) == 1


async def test_without_a_place_nothing_is_waited_for() -> None:
    settled = Settled()
    recovery = WordRecovery(settled, None, patience=RecoveryPatience(word_seconds=3600.0))
    async with asyncio.timeout(WAIT_SECONDS):
        await recovery.recover("dead", [make_lost(usage=Usage(7, 11))], stop=asyncio.Event())
        assert await recovery.recover("dead", [], stop=asyncio.Event()) == ()
    assert [row.usage for row in settled.rows] == [Usage(7, 11)]


async def test_a_second_call_of_our_workers_is_asked_for_by_its_own_id(rig: Rig) -> None:
    await rig.words.leave([make_word("a.2", usage=Usage(7, 40))])
    await rig.recover(make_lost(task_id="a.2"))
    assert [(row.request_id, row.usage) for row in rig.settled.rows] == [("a", Usage(7, 40))]


def test_what_was_never_noted_may_have_a_word() -> None:
    assert may_have_word(make_lost(route=""))
    assert may_have_word(make_lost(route="own"))
    assert not may_have_word(make_lost(route="provider:up"))


def test_of_several_words_and_notes_the_most_counts() -> None:
    lost = make_lost(usage=Usage(7, 11, 5))
    words = [make_word(usage=Usage(0, 30)), make_word(usage=Usage(7, 20, 0, 4), attempt=2)]
    row = apply_words(lost, words)
    assert (row.usage, row.attempts) == (Usage(7, 30, 5, 4), 2)
    assert apply_words(lost, []) == lost.row


def test_who_ran_what_was_never_noted_is_known_by_its_word() -> None:
    row = apply_words(make_lost(route=""), [make_word(usage=Usage(1, 2))])
    assert (row.route, row.target) == ("own", "deployment")
    noted = make_lost()
    assert apply_words(noted, [make_word(usage=Usage(1, 2))]).target == "demo"
