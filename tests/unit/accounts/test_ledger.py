"""A row is never lost: not by a database that is away, not by memory that is full, not by a process that is killed."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from headrace.accounts.ledger.base import FINISHED, LOST, UsageRow
from headrace.accounts.ledger.entries import Closed, Dropped, Entry, Lost, Opened, Remains, Seen, read_entries
from headrace.accounts.ledger.journal import Journal, JournalFolder, claim_left
from headrace.accounts.ledger.ledger import UsageLedger
from headrace.accounts.ledger.segments import Segments
from headrace.schema.events import Usage
from tests.support.metering import FlakyUsageStore
from tests.support.recorders import Recorder
from tests.support.values import fresh_name

WAIT_SECONDS = 10


def make_row(request_id: str = "", *, outcome: str = FINISHED, tokens: int = 7) -> UsageRow:
    return UsageRow(
        request_id=request_id or fresh_name("gen"),
        tenant_id="t",
        key_id="k",
        model="demo",
        output_tokens=tokens,
        outcome=outcome,
        started_at=1000,
        ended_at=2000,
    )


def make_opened(request_id: str) -> Opened:
    return Opened(request_id=request_id, tenant_id="t", key_id="k", model="demo", started_at=1000)


def leave_journal(path: Path, *entries: Entry) -> None:
    """Do as a process that was killed."""
    folder = JournalFolder.claim(path)
    assert folder is not None
    folder.file(1).write_bytes(b"".join(msgspec.json.encode(entry) + b"\n" for entry in entries))
    folder.release()


def folders_in(root: Path) -> list[Path]:
    return list(root.iterdir())


class Recoveries(Recorder):
    """Takes what was lost."""

    def __init__(self) -> None:
        super().__init__()
        self.taken: list[tuple[str, list[str]]] = []
        self.waits = False

    async def recover(self, owner: str, lost: Sequence[Lost], *, stop: asyncio.Event) -> Sequence[UsageRow] | None:
        self.taken.append((owner, [each.row.request_id for each in lost]))
        self.changed()
        while self.waits and not stop.is_set():
            await stop.wait()
        return None if stop.is_set() else [each.row for each in lost]


class Rig:
    def __init__(self, folder: Path, *, max_waiting: int = 100, segment_bytes: int = 1024 * 1024) -> None:
        self.folder = folder
        self.store = FlakyUsageStore()
        self.recoveries = Recoveries()
        self.journal = Journal(folder, fresh_name("gateway"), segment_bytes=segment_bytes)
        self.ledger = UsageLedger(
            self.journal, self.store, recovery=self.recoveries, max_waiting=max_waiting, batch_seconds=0.0
        )

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / self.journal.name).glob("*.jsonl"))

    async def flush(self) -> None:
        async with asyncio.timeout(WAIT_SECONDS):
            await self.ledger.flush()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_rows_arrive_and_the_journal_is_gone_after_an_orderly_end(rig: Rig, tmp_path: Path) -> None:
    await rig.ledger.start()
    rows = [make_row() for _ in range(20)]
    for row in rows:
        await rig.ledger.open(make_opened(row.request_id))
        rig.ledger.close_row(row)
    await rig.flush()
    assert rig.store.rows == {row.request_id: row for row in rows}
    await rig.ledger.close()
    assert folders_in(tmp_path) == []


async def test_rows_of_one_moment_are_one_transaction(rig: Rig) -> None:
    await rig.ledger.start()
    for _ in range(50):
        rig.ledger.close_row(make_row())
    await rig.flush()
    assert rig.store.transactions == [50]
    await rig.ledger.close()


async def test_a_database_that_is_away_gets_the_rows_when_it_is_back(rig: Rig) -> None:
    await rig.ledger.start()
    rig.store.is_away = True
    rig.ledger.close_row(row := make_row())
    await rig.store.until(lambda: rig.ledger.backlog == 1)
    rig.store.is_away = False
    await rig.flush()
    assert row.request_id in rig.store.rows
    await rig.ledger.close()


async def test_what_memory_has_no_room_for_is_read_from_the_journal_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path, max_waiting=3, segment_bytes=600)
    await rig.ledger.start()
    rig.store.is_away = True
    rows = [make_row() for _ in range(40)]
    for row in rows:
        await rig.ledger.open(make_opened(row.request_id))
        rig.ledger.close_row(row)
    assert len(rig.ledger.waiting_rows()) == 3
    assert rig.ledger.backlog == 40
    assert len(rig.files()) > 5
    rig.store.is_away = False
    await rig.flush()
    assert set(rig.store.rows) == {row.request_id for row in rows}
    # A generation that runs on keeps its own file only.
    await rig.ledger.open(make_opened("runs"))
    await rig.ledger.close()
    assert len(rig.files()) <= 2


async def test_one_row_that_is_refused_keeps_no_other_out(rig: Rig) -> None:
    await rig.ledger.start()
    rows = [make_row() for _ in range(5)]
    rig.store.bad_ids = {rows[2].request_id}
    for row in rows:
        rig.ledger.close_row(row)
    await rig.flush()
    assert len(rig.store.rows) == 4
    await rig.ledger.close()


async def test_an_end_without_a_database_leaves_everything_to_the_next_start(rig: Rig, tmp_path: Path) -> None:
    await rig.ledger.start()
    rig.store.is_away = True
    rig.ledger.close_row(row := make_row())
    await rig.ledger.close(seconds=0.05)
    assert rig.files()
    after = Rig(tmp_path)
    await after.ledger.start()
    await after.store.until(lambda: row.request_id in after.store.rows)
    assert after.recoveries.taken == [(rig.journal.name, [])]
    await after.ledger.close()
    assert folders_in(tmp_path) == []


async def test_what_was_cut_off_is_lost_with_what_was_last_seen_of_it(rig: Rig, tmp_path: Path) -> None:
    await rig.ledger.start()
    for request_id in ("cut", "unseen", "dropped", "ended"):
        await rig.ledger.open(make_opened(request_id))
    for tokens in (3, 9):
        rig.ledger.see(
            Seen(request_id="cut", at=1500 + tokens, usage=Usage(5, tokens), route="own", target="m", attempts=2)
        )
    rig.ledger.drop("dropped")
    rig.store.is_away = True
    rig.ledger.close_row(ended := make_row("ended"))
    await rig.journal.written()
    # Killed: the system lets go of its lock.
    await rig.ledger.close(seconds=0.0)

    after = Rig(tmp_path)
    await after.ledger.start()
    await after.store.until(lambda: len(after.store.rows) == 3)
    assert after.store.rows["ended"] == ended
    cut = after.store.rows["cut"]
    assert (cut.outcome, cut.input_tokens, cut.output_tokens, cut.attempts) == (LOST, 5, 9, 2)
    assert (cut.started_at, cut.ended_at, cut.total_ms) == (1000, 1509, 509)
    assert after.store.rows["unseen"].outcome == LOST
    assert [ids for _, ids in after.recoveries.taken] == [["cut", "unseen"]]
    await after.ledger.close()


async def test_nobody_takes_over_what_a_living_process_holds(rig: Rig, tmp_path: Path) -> None:
    await rig.ledger.start()
    await rig.ledger.open(make_opened("runs"))
    other = Rig(tmp_path)
    await other.ledger.start()
    await other.ledger.sweep()
    assert other.recoveries.taken == []
    assert await asyncio.to_thread(JournalFolder.claim, tmp_path / rig.journal.name) is None
    await other.ledger.close()
    await rig.ledger.close()


async def test_a_folder_that_is_taken_for_one_that_was_left_is_made_again(rig: Rig, tmp_path: Path) -> None:
    taken = await asyncio.to_thread(JournalFolder.claim, tmp_path / rig.journal.name)
    assert taken is not None
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(rig.ledger.start())
        await asyncio.sleep(0)
        group.create_task(asyncio.to_thread(taken.dissolve))
        await starting
    rig.ledger.close_row(row := make_row())
    await rig.flush()
    assert row.request_id in rig.store.rows
    await rig.ledger.close()


async def test_what_can_not_be_written_yet_stays_where_it_was(rig: Rig, tmp_path: Path) -> None:
    await rig.ledger.start()
    await rig.ledger.open(make_opened("cut"))
    await rig.ledger.close(seconds=0.0)
    after = Rig(tmp_path)
    after.store.is_away = True
    await after.journal.start()
    await after.ledger.sweep()
    assert len(folders_in(tmp_path)) == 2
    after.store.is_away = False
    await after.ledger.sweep()
    assert after.store.rows["cut"].outcome == LOST
    assert len(folders_in(tmp_path)) == 1
    await after.journal.close()


async def test_a_row_says_lost_only_until_somebody_knows_better() -> None:
    store = FlakyUsageStore()
    await store.insert([make_row("a", outcome=LOST, tokens=1)])
    await store.insert([make_row("a", tokens=2)])
    await store.insert([make_row("a", tokens=3), make_row("a", outcome=LOST, tokens=4)])
    assert store.rows["a"].output_tokens == 2


def test_a_line_that_was_not_written_whole_is_passed_over() -> None:
    lines = [
        b'{"entry":"opened","request_id":"a","model":"m","started_at":1}\n',
        b"\n",
        b'{"entry":"closed","row":{"req',
    ]
    assert [type(entry) for entry in read_entries(lines)] == [Opened]


def test_remains_of_a_generation_that_was_dropped() -> None:
    remains = Remains()
    for entry in (make_opened("a"), Dropped("a"), make_opened("b"), Closed(make_row("b"))):
        remains.add(entry)
    assert remains.lost() == []
    assert [row.request_id for row in remains.closed()] == ["b"]


def test_segments_go_when_nobody_needs_them() -> None:
    segments = Segments()
    segments.note(make_opened("a"), 1)
    segments.note(make_opened("b"), 1)
    segments.note(Closed(make_row("a")), 2)
    segments.note(Closed(make_row("b")), 3)
    assert segments.take_free(3) == []
    segments.release("a")
    assert segments.take_free(3) == [2]
    segments.spill("b")
    assert segments.pinned == [1, 3]
    assert segments.take_free(4) == []
    segments.unpin([1, 3])
    assert segments.take_free(4) == [1, 3]
    assert segments.is_empty


def test_a_segment_that_says_what_was_used_stays_until_another_one_says_more() -> None:
    segments = Segments()
    segments.note(make_opened("a"), 1)
    for segment in (1, 2, 3):
        segments.note(Seen(request_id="a", at=2000, usage=Usage(7, segment)), segment)
    # Of a generation that is settled already: nobody needs it, and the file is removed all the same.
    segments.note(Seen(request_id="z", at=2000, usage=Usage(1, 1)), 4)
    assert segments.take_free(9) == [2, 4]
    segments.note(Closed(make_row("a")), 5)
    segments.release("a")
    assert segments.take_free(9) == [1, 3, 5]
    assert segments.is_empty


async def test_an_end_does_not_wait_for_what_is_waited_for(rig: Rig, tmp_path: Path) -> None:
    late = make_row()
    await asyncio.to_thread(leave_journal, tmp_path / "left", make_opened("cut off"), Closed(late))
    rig.recoveries.waits = True
    await rig.ledger.start()
    await rig.recoveries.until(lambda: bool(rig.recoveries.taken))
    # What had ended waits for nobody.
    assert late.request_id in rig.store.rows
    await rig.ledger.close()
    assert "cut off" not in rig.store.rows
    assert [path.name for path in folders_in(tmp_path)] == ["left"]


async def test_what_several_have_left_is_waited_for_at_once(rig: Rig, tmp_path: Path) -> None:
    names = [f"left-{number}" for number in range(3)]
    for name in names:
        await asyncio.to_thread(leave_journal, tmp_path / name, make_opened(name))
    rig.recoveries.waits = True
    await rig.ledger.start()
    await rig.recoveries.until(lambda: len(rig.recoveries.taken) == 3)
    assert sorted(rig.recoveries.taken) == [(name, [name]) for name in names]
    await rig.ledger.close()


def test_a_folder_that_is_left_is_claimed_by_one(tmp_path: Path) -> None:
    folder = JournalFolder.claim(tmp_path / "dead")
    assert folder is not None
    folder.release()
    left = claim_left(tmp_path, "own")
    assert [each.path.name for each in left] == ["dead"]
    assert claim_left(tmp_path, "own") == []
    left[0].dissolve()
    assert claim_left(tmp_path / "nowhere", "own") == []
