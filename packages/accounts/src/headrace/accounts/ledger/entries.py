"""The lines of the journal, and what is left of them when their process is gone.

A line is JSON, so that a person can read what a dead gateway left. Evolution: append only, with a default.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from headrace.accounts.ledger.base import LOST, UsageRow
from headrace.schema.events import Usage
from headrace.schema.names import Lane


class Opened(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="entry", tag="opened"):
    """A generation is about to be accepted."""

    request_id: str
    tenant_id: str = ""
    key_id: str = ""
    model: str
    lane: Lane = "online"
    started_at: int
    retained: bool = False


class Seen(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="entry", tag="seen"):
    """A generation that runs has used so much until now."""

    request_id: str
    at: int
    usage: Usage
    route: str = ""
    target: str = ""
    attempts: int = 1
    task_id: str = ""


class Dropped(Struct, frozen=True, tag_field="entry", tag="dropped"):
    """A generation was not accepted after all: there is no row of it."""

    request_id: str


class Closed(Struct, frozen=True, tag_field="entry", tag="closed"):
    """A generation is over."""

    row: UsageRow


Entry = Opened | Seen | Dropped | Closed

_decoder = msgspec.json.Decoder(Entry)


def request_of(entry: Entry) -> str:
    """Return which generation an entry is about."""
    return entry.row.request_id if isinstance(entry, Closed) else entry.request_id


def read_entries(lines: Iterable[bytes]) -> Iterator[Entry]:
    """Yield the entries of a journal; a line that was not written whole, or that nobody understands, is passed over."""
    for line in lines:
        try:
            yield _decoder.decode(line)
        except (msgspec.DecodeError, ValueError):
            continue


class Lost(Struct, frozen=True, kw_only=True):
    """A generation that was cut off with its process.

    Attributes:
        row: with the usage that was last noted, and without a cost.
        task_id: the id that our workers know it by.
        retained: another gateway may go on with it, and will settle it then.
    """

    row: UsageRow
    task_id: str
    retained: bool = False


class Remains:
    """Collects what the journal of a process that is gone says about each generation."""

    def __init__(self) -> None:
        self._opened: dict[str, Opened] = {}
        self._seen: dict[str, Seen] = {}
        self._closed: dict[str, UsageRow] = {}

    def add(self, entry: Entry) -> None:
        """Take the next entry."""
        match entry:
            case Opened():
                self._opened[entry.request_id] = entry
            case Seen():
                self._seen[entry.request_id] = entry
            case Dropped():
                self._opened.pop(entry.request_id, None)
            case Closed():
                self._closed[entry.row.request_id] = entry.row

    def closed(self) -> list[UsageRow]:
        """Return the rows of generations that had ended."""
        return list(self._closed.values())

    def lost(self) -> list[Lost]:
        """Return each generation that was cut off."""
        return [
            self._make_lost(opened) for request_id, opened in self._opened.items() if request_id not in self._closed
        ]

    def _make_lost(self, opened: Opened) -> Lost:
        request_id = opened.request_id
        seen = self._seen.get(request_id) or Seen(request_id=request_id, at=opened.started_at, usage=Usage(0, 0))
        row = UsageRow(
            request_id=request_id,
            tenant_id=opened.tenant_id,
            key_id=opened.key_id,
            model=opened.model,
            route=seen.route,
            target=seen.target,
            attempts=seen.attempts,
            lane=opened.lane,
            input_tokens=seen.usage.input_tokens,
            output_tokens=seen.usage.output_tokens,
            cached_tokens=seen.usage.cached_tokens,
            reasoning_tokens=seen.usage.reasoning_tokens,
            total_ms=max(0, seen.at - opened.started_at),
            outcome=LOST,
            started_at=opened.started_at,
            ended_at=seen.at,
        )
        return Lost(row=row, task_id=seen.task_id or request_id, retained=opened.retained)
