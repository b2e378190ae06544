"""Which files of a journal may go: pure bookkeeping, and no file is touched."""

from headrace.accounts.ledger.entries import Closed, Dropped, Entry, Opened, Seen, request_of


class Segments:
    """Counts, for each numbered file, the generations that still need it.

    A generation needs the files in which it was opened and closed, and the one that says last what it has used, until
    its row is in the database. What was forgotten by memory (`spill`) needs its files until they were read again.
    """

    def __init__(self) -> None:
        self._needed_by: dict[int, set[str]] = {}
        self._homes: dict[str, set[int]] = {}
        self._seen_in: dict[str, int] = {}
        self._pinned: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """Whether no generation needs any file."""
        return not self._homes and not self._pinned

    @property
    def pinned(self) -> list[int]:
        """The files that must be read again, the oldest first."""
        return sorted(self._pinned)

    def note(self, entry: Entry, segment: int) -> None:
        """Note that an entry is written to a file."""
        match entry:
            case Opened() | Closed():
                request_id = request_of(entry)
                self._needed_by.setdefault(segment, set()).add(request_id)
                self._homes.setdefault(request_id, set()).add(segment)
            case Seen(request_id=request_id):
                self._note_seen(request_id, segment)
            case Dropped(request_id=request_id):
                self.release(request_id)

    def _note_seen(self, request_id: str, segment: int) -> None:
        # Also where nobody needs it: a file that is not known here is never removed.
        needed_by = self._needed_by.setdefault(segment, set())
        homes = self._homes.get(request_id)
        if homes is None:
            return
        needed_by.add(request_id)
        before = self._seen_in.get(request_id, segment)
        self._seen_in[request_id] = segment
        if before != segment and before not in homes:
            self._needed_by[before].discard(request_id)

    def release(self, request_id: str) -> None:
        """Note that a generation needs no file any more."""
        homes = self._homes.pop(request_id, set())
        if (seen_in := self._seen_in.pop(request_id, None)) is not None:
            homes.add(seen_in)
        for segment in homes:
            self._needed_by[segment].discard(request_id)

    def spill(self, request_id: str) -> None:
        """Note that the row of a generation is only in its files from now on."""
        self._pinned |= self._homes.get(request_id, set())
        self.release(request_id)

    def unpin(self, segments: list[int]) -> None:
        """Note that files were read again."""
        self._pinned.difference_update(segments)

    def take_free(self, current: int) -> list[int]:
        """Return the files that nobody needs, and forget them; never the current one."""
        free = [
            segment
            for segment, requests in self._needed_by.items()
            if not requests and segment != current and segment not in self._pinned
        ]
        for segment in free:
            del self._needed_by[segment]
        return free
