"""An append-only journal on the local disk, which outlives a gateway that is killed.

Everything goes through it: a generation is opened here before its first event is sent, and closed here when it ends, so
a crash at any moment leaves either its row or the fact that it was cut off. What is in the database needs the journal
no more, and files that nobody needs are removed.

Lines are written in batches by a thread: all that came while the last batch was written. Nothing waits for the disk but
the first event of a generation, and by then its line has long been written.

Each process has a folder of its own below the folder of journals, and holds a lock on a file in it for as long as it
lives. A folder whose lock is free is what a dead process left; the first gateway that sees it takes it over.
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Sequence
from io import FileIO
from pathlib import Path
from typing import IO

import msgspec
import structlog

from headrace.accounts.ledger.entries import Closed, Entry, read_entries
from headrace.accounts.ledger.segments import Segments
from headrace.transport.tasks import TaskOwner

SEGMENT_BYTES = 1024 * 1024
LOCK_NAME = "lock"
CLAIM_TRIES = 50
CLAIM_PAUSE_SECONDS = 0.1
_SUFFIX = ".jsonl"

_encoder = msgspec.json.Encoder()
_log = structlog.get_logger("headrace.accounts")


class JournalFolder:
    """A folder of one process, locked. It blocks, so it is used in a thread."""

    def __init__(self, path: Path, lock: IO[bytes]) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def claim(cls, path: Path) -> "JournalFolder | None":
        """Lock a folder, which is made if it is not there; None if another process holds it, or is removing it."""
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            lock = (path / LOCK_NAME).open("ab")
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        # Whoever had it may have removed it between our two calls: the lock would then be on a file without a name.
        if not (path / LOCK_NAME).exists():
            lock.close()
            return None
        return cls(path, lock)

    def file(self, segment: int) -> Path:
        """Return where a segment is."""
        return self.path / f"{segment:08d}{_SUFFIX}"

    def segments(self) -> list[int]:
        """Return the numbers of all segments, the oldest first."""
        return sorted(int(file.stem) for file in self.path.glob(f"*{_SUFFIX}"))

    def read(self, segments: Sequence[int]) -> list[Entry]:
        """Return the entries of segments."""
        entries: list[Entry] = []
        for segment in segments:
            with self.file(segment).open("rb") as lines:
                entries += read_entries(lines)
        return entries

    def remove(self, segments: Sequence[int]) -> None:
        """Remove segments."""
        for segment in segments:
            self.file(segment).unlink(missing_ok=True)

    def dissolve(self) -> None:
        """Remove everything, and let go."""
        self.remove(self.segments())
        (self.path / LOCK_NAME).unlink(missing_ok=True)
        self.release()
        self.path.rmdir()

    def release(self) -> None:
        """Let go, and leave what is there to whoever comes next."""
        self._lock.close()


def claim_left(root: Path, own: str) -> list[JournalFolder]:
    """Lock and return every folder that a dead process has left. It blocks."""
    if not root.exists():
        return []
    others = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name != own]
    return [folder for path in others if (folder := JournalFolder.claim(path)) is not None]


class Journal:
    """The journal of this process.

    Args:
        root: the folder of all journals.
        name: of ours in it; no other process may use it.
        syncs: whether a batch is on the disk before it counts as written.
        segment_bytes: a file that is larger is followed by another.
    """

    def __init__(self, root: Path, name: str, *, syncs: bool = False, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.root = root
        self.name = name
        self.segments = Segments()
        self._syncs = syncs
        self._segment_bytes = segment_bytes
        self._current = 1
        self._size = 0
        self._waiting: list[Entry] = []
        self._spilled: set[str] = set()
        self._listeners: list[asyncio.Future[None]] = []
        self._is_closing = False
        self._wake = asyncio.Event()
        self._tasks = TaskOwner()
        self._folder: JournalFolder | None = None
        self._file: FileIO | None = None
        self._said = ""

    async def start(self) -> None:
        """Lock the folder, and begin to write.

        Raises:
            OSError: the folder can't be used.
        """
        await asyncio.to_thread(self._claim)
        self._tasks.start(self._write_for_ever(), name="usage journal")

    def append(self, entry: Entry) -> None:
        """Write an entry soon."""
        self._waiting.append(entry)
        self._wake.set()

    def append_heard(self, entry: Entry) -> "asyncio.Future[None]":
        """Write an entry soon; the future is done when it is written, or can't be."""
        self._waiting.append(entry)
        return self._listen()

    def append_spilled(self, entry: Closed) -> None:
        """Write the end of a generation whose row nobody else keeps: its files must be read again."""
        self._spilled.add(entry.row.request_id)
        self.append(entry)

    def _listen(self) -> "asyncio.Future[None]":
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._is_closing:
            written.set_result(None)
        else:
            self._listeners.append(written)
            self._wake.set()
        return written

    async def written(self) -> None:
        """Wait until everything so far is written, or can't be."""
        await self._listen()

    async def release(self, request_ids: Sequence[str]) -> None:
        """Note that rows are in the database, and remove the files that nobody needs any more."""
        for request_id in request_ids:
            self.segments.release(request_id)
        await self._remove_free()

    async def read_pinned(self) -> tuple[list[int], list[Entry]]:
        """Return the files that must be read again, and their entries; call `unpin` when they are in the database."""
        await self.written()
        pinned = self.segments.pinned
        return pinned, await asyncio.to_thread(self._need_folder().read, pinned)

    async def unpin(self, segments: list[int]) -> None:
        """Note that all closed entries of files are in the database."""
        self.segments.unpin(segments)
        await self._remove_free()

    async def close(self) -> None:
        """Write what waits, and leave what is still needed to whoever comes next."""
        self._is_closing = True
        self._wake.set()
        # Not cancelled: what its thread has begun to write must be whole before the file is closed.
        await self._tasks.join()
        if self._folder is not None:
            await asyncio.to_thread(self._end, self._folder, remove=self.segments.is_empty)
            self._folder = None

    def _need_folder(self) -> JournalFolder:
        if self._folder is None:
            raise RuntimeError("the journal is not started")
        return self._folder

    def _claim(self) -> None:
        # Another process that sees the new folder before it is locked takes it for one that was left, and removes it.
        for _ in range(CLAIM_TRIES):
            self._folder = JournalFolder.claim(self.root / self.name)
            if self._folder is not None:
                return
            time.sleep(CLAIM_PAUSE_SECONDS)
        raise OSError(f"the journal {self.name} is used by another process")

    def _end(self, folder: JournalFolder, *, remove: bool) -> None:
        if self._file is not None:
            self._file.close()
        if remove:
            folder.dissolve()
        else:
            folder.release()

    async def _write_for_ever(self) -> None:
        while not self._is_closing:
            await self._wake.wait()
            self._wake.clear()
            await self._write_waiting()
        await self._write_waiting()

    async def _write_waiting(self) -> None:
        entries, self._waiting = self._waiting, []
        listeners, self._listeners = self._listeners, []
        try:
            if entries:
                await self._write_entries(entries)
        finally:
            for written in listeners:
                if not written.done():
                    written.set_result(None)

    async def _write_entries(self, entries: Sequence[Entry]) -> None:
        if self._size > self._segment_bytes:
            self._current, self._size = self._current + 1, 0
        # After a failure the last line may not be whole.
        begin = b"\n" if self._said else b""
        data = begin + b"".join(_encoder.encode(entry) + b"\n" for entry in entries)
        self._size += len(data)
        for entry in entries:
            self.segments.note(entry, self._current)
            if isinstance(entry, Closed) and entry.row.request_id in self._spilled:
                self._spilled.discard(entry.row.request_id)
                self.segments.spill(entry.row.request_id)
        try:
            await asyncio.to_thread(self._write, data, self._current)
            self._said = ""
        except OSError as error:
            self._say(error)

    def _write(self, data: bytes, segment: int) -> None:
        path = self._need_folder().file(segment)
        if self._file is None or self._file.name != str(path):
            if self._file is not None:
                self._file.close()
            self._file = path.open("ab", buffering=0)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        if self._syncs:
            os.fdatasync(self._file.fileno())

    async def _remove_free(self) -> None:
        free = self.segments.take_free(self._current)
        if free:
            await asyncio.to_thread(self._need_folder().remove, free)

    def _say(self, error: OSError) -> None:
        # Said once for each reason. Generations go on: what is in memory is still written to the database.
        reason = error.strerror or type(error).__name__
        if reason != self._said:
            self._said = reason
            _log.error("usage journal failed", reason=reason)
