"""The way of a row from its generation's end to the database: at once into the journal, and from there when it can."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import structlog

from headrace.accounts.ledger.base import UsageRow, UsageStore
from headrace.accounts.ledger.entries import Closed, Dropped, Lost, Opened, Remains, Seen
from headrace.accounts.ledger.journal import Journal, JournalFolder, claim_left
from headrace.accounts.observer import MeteringObserver
from headrace.schema.errors import HeadraceError
from headrace.transport.tasks import TaskOwner

MAX_WAITING = 10_000
BATCH_ROWS = 500
BATCH_SECONDS = 0.1
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
SWEEP_SECONDS = 60.0
CLOSE_SECONDS = 5.0
# Journals that are taken over at once; each may wait for the last words of its workers.
MAX_TAKEN_OVER = 16

_log = structlog.get_logger("headrace.accounts")


class Recovery(Protocol):
    """Settles what a dead process ran."""

    async def recover(self, owner: str, lost: Sequence[Lost], *, stop: asyncio.Event) -> Sequence[UsageRow] | None:
        """Settle generations, and return their rows with what they used and cost.

        It may take a while. None where it was stopped before that; whoever finds the journal next begins anew.

        Args:
            owner: the name of the dead process.
            lost: what it ran.
            stop: set when there is no more time.
        """
        ...


class UsageLedger:
    """Opens, closes and writes rows, and takes over what dead processes have left.

    Rows wait for the database in memory, up to a bound, and beyond it only in the journal.

    Args:
        journal: ours; it is started and closed here.
        store: where rows last.
        recovery: settles what dead processes ran.
        observers: are told how many rows wait.
        max_waiting: rows in memory.
        batch_seconds: how long a row waits for company, so that many are one transaction.
        sweep_seconds: how often to look for what others have left.
    """

    def __init__(
        self,
        journal: Journal,
        store: UsageStore,
        *,
        recovery: Recovery,
        observers: Sequence[MeteringObserver] = (),
        max_waiting: int = MAX_WAITING,
        batch_seconds: float = BATCH_SECONDS,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._journal = journal
        self._store = store
        self._recovery = recovery
        self._observers = observers
        self._max_waiting = max_waiting
        self._batch_seconds = batch_seconds
        self._sweep_seconds = sweep_seconds
        self._rows: deque[UsageRow] = deque()
        self._spilled = 0
        self._wake = asyncio.Event()
        self._written = asyncio.Event()
        self._tasks = TaskOwner()
        self._sweeps = TaskOwner()
        self._closing = asyncio.Event()

    @property
    def backlog(self) -> int:
        """Rows that are not in the database yet."""
        return len(self._rows) + self._spilled

    async def start(self) -> None:
        """Begin to write, and take over what was left.

        Raises:
            OSError: the folder of the journal can't be used.
        """
        await self._journal.start()
        self._tasks.start(self._write_for_ever(), name="usage ledger")
        self._sweeps.start(self._sweep_for_ever(), name="usage sweep")

    def open(self, entry: Opened) -> "asyncio.Future[None]":
        """Note that a generation is about to be accepted; the future is done when that can't be forgotten any more."""
        return self._journal.append_heard(entry)

    def see(self, entry: Seen) -> None:
        """Note what a generation has used so far."""
        self._journal.append(entry)

    def drop(self, request_id: str) -> None:
        """Note that a generation was not accepted."""
        self._journal.append(Dropped(request_id))

    def close_row(self, row: UsageRow) -> None:
        """Take the row of a generation that is over; it is never lost from here on, and in the database soon."""
        entry = Closed(row)
        if self._spilled or len(self._rows) >= self._max_waiting:
            self._journal.append_spilled(entry)
            self._spilled += 1
        else:
            self._journal.append(entry)
            self._rows.append(row)
        self._wake.set()
        self._tell_backlog()

    def waiting_rows(self) -> list[UsageRow]:
        """Return the rows that are in memory and may not be in the database yet."""
        return list(self._rows)

    async def flush(self) -> None:
        """Wait until everything is in the database."""
        while self.backlog:
            self._written.clear()
            self._wake.set()
            await self._written.wait()

    async def close(self, *, seconds: float = CLOSE_SECONDS) -> None:
        """Write what can be written in a few seconds; the rest is in the journal, for the next start."""
        try:
            async with asyncio.timeout(seconds):
                await self.flush()
        except TimeoutError:
            _log.warning("usage rows left in the journal", rows=self.backlog)
        self._closing.set()
        # Not cancelled: what it has taken over must be let go.
        await self._sweeps.join()
        await self._tasks.close()
        await self._journal.close()

    async def _write_for_ever(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while True:
            await self._wake.wait()
            await asyncio.sleep(self._batch_seconds)
            self._wake.clear()
            while self.backlog:
                try:
                    await self._write_batch()
                    pause = FIRST_PAUSE_SECONDS
                except (HeadraceError, OSError):
                    # The database says itself, once, that it is away; so does the journal, whose disk may be full.
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            self._written.set()

    async def _write_batch(self) -> None:
        if not self._rows:
            await self._write_spilled()
            return
        batch = [self._rows[index] for index in range(min(BATCH_ROWS, len(self._rows)))]
        # What the journal has not written yet can't be released there.
        await self._journal.written()
        await self._insert(batch)
        for _ in batch:
            self._rows.popleft()
        await self._journal.release([row.request_id for row in batch])
        self._tell_backlog()

    async def _write_spilled(self) -> None:
        """Write what is only in the journal; what is spilled meanwhile comes next."""
        before = self._spilled
        segments, entries = await self._journal.read_pinned()
        rows = [entry.row for entry in entries if isinstance(entry, Closed)]
        for begin in range(0, len(rows), BATCH_ROWS):
            await self._insert(rows[begin : begin + BATCH_ROWS])
        self._spilled -= before
        await self._journal.unpin(segments)
        self._tell_backlog()

    async def _insert(self, rows: Sequence[UsageRow]) -> None:
        try:
            await self._store.insert(rows)
        except HeadraceError:
            raise
        except Exception as error:  # noqa: BLE001 - an edge: one row that is refused must not keep all others out
            if len(rows) == 1:
                _log.error("usage row refused", request_id=rows[0].request_id, error=type(error).__name__)
                return
            for row in rows:
                await self._insert([row])

    def _tell_backlog(self) -> None:
        for observer in self._observers:
            observer.ledger_backlog_changed(self.backlog)

    async def _sweep_for_ever(self) -> None:
        while not self._closing.is_set():
            await self.sweep()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._sweep_seconds):
                    await self._closing.wait()

    async def sweep(self) -> None:
        """Write what dead processes have left on this disk."""
        try:
            folders = await asyncio.to_thread(claim_left, self._journal.root, self._journal.name)
        except OSError as error:
            _say_failed(error)
            return
        places = asyncio.Semaphore(MAX_TAKEN_OVER)
        async with asyncio.TaskGroup() as group:
            for folder in folders:
                group.create_task(self._take_over_in_turn(folder, places))

    async def _take_over_in_turn(self, folder: JournalFolder, places: asyncio.Semaphore) -> None:
        async with places:
            try:
                await self._take_over(folder)
            except OSError as error:
                _say_failed(error)
                await asyncio.to_thread(folder.release)

    async def _take_over(self, folder: JournalFolder) -> None:
        remains = Remains()
        for entry in await asyncio.to_thread(lambda: folder.read(folder.segments())):
            remains.add(entry)
        try:
            await self._insert_all(remains.closed())
            lost = await self._recovery.recover(folder.path.name, remains.lost(), stop=self._closing)
            await self._insert_all(lost or ())
        except HeadraceError:
            lost = None
        if lost is None:
            # Somebody will try again: what is in it stays there.
            await asyncio.to_thread(folder.release)
            return
        await asyncio.to_thread(folder.dissolve)
        rows = len(remains.closed()) + len(lost)
        _log.info("usage journal taken over", replica=folder.path.name, rows=rows, lost=len(lost))

    async def _insert_all(self, rows: Sequence[UsageRow]) -> None:
        for begin in range(0, len(rows), BATCH_ROWS):
            await self._insert(rows[begin : begin + BATCH_ROWS])


def _say_failed(error: OSError) -> None:
    _log.error("usage sweep failed", reason=error.strerror or type(error).__name__)
