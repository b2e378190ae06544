"""Reads server-sent events from bytes, however a network cut them.

Only the data of an event is of use here: every vendor says the kind of an event in its data too. Names, ids, retry
times and comments are passed over. Whatever the cuts, the same bytes give the same events.
"""

MAX_EVENT_BYTES = 4 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


class OversizeEventError(Exception):
    """An event, or a line of one, is larger than is allowed."""


class SseParser:
    """Takes bytes as they come and gives the data of each event that is whole.

    It holds no more than one event, which is bounded.

    Args:
        max_event_bytes: most that one event may have.
    """

    __slots__ = ("_ended_with_cr", "_head", "_line", "_line_bytes", "_lines", "_lines_bytes", "_max_bytes")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_event_bytes
        # What has come of a byte order mark; None once it is settled whether there is one.
        self._head: bytes | None = b""
        self._ended_with_cr = False
        # The line that is not whole yet, in pieces, and the data lines of the event that is not whole yet.
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._lines: list[bytes] = []
        self._lines_bytes = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the data of each event that these bytes complete.

        Raises:
            OversizeEventError: an event is too large; the parser is of no use after it.
        """
        if self._head is not None and not (data := self._skip_bom(data)):
            return []
        if self._ended_with_cr or b"\r" in data:
            data = self._to_line_feeds(data)
        events: list[bytes] = []
        *whole, rest = data.split(b"\n")
        for line in whole:
            if self._line:
                line = b"".join([*self._line, line])
                self._line.clear()
                self._line_bytes = 0
            self._take(line, events)
        if rest:
            self._line.append(rest)
            self._line_bytes += len(rest)
            self._check_size()
        return events

    def end(self) -> list[bytes]:
        """Return the event that the end of the bytes completes, if there is one: some servers omit its last line."""
        events: list[bytes] = []
        self._take(b"".join(self._line), events)
        self._take(b"", events)
        self._line.clear()
        return events

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if line.startswith(b"data:"):
            self._add(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._add(b"")
        elif not line and self._lines:
            events.append(self._lines[0] if len(self._lines) == 1 else b"\n".join(self._lines))
            self._lines.clear()
            self._lines_bytes = 0

    def _add(self, value: bytes) -> None:
        self._lines.append(value)
        # A line counts for at least one byte, so that empty ones are bounded too.
        self._lines_bytes += len(value) + 1
        self._check_size()

    def _check_size(self) -> None:
        if self._lines_bytes + self._line_bytes > self._max_bytes:
            raise OversizeEventError

    def _to_line_feeds(self, data: bytes) -> bytes:
        """Return the bytes with LF at the end of each line; a CRLF may lie across two pieces."""
        if self._ended_with_cr and data.startswith(b"\n"):
            data = data[1:]
            self._ended_with_cr = False
        if data:
            self._ended_with_cr = data.endswith(b"\r")
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _skip_bom(self, data: bytes) -> bytes:
        head = (self._head or b"") + data
        if len(head) < len(_BOM) and _BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(_BOM)
