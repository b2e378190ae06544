"""Clients of a benchmark: keep-alive connections that ask for a stream again and again, and note when what came."""

import asyncio
import time
from itertools import pairwise
from urllib.parse import urlsplit

from msgspec import Struct

TEXT = b'"delta":{"content":'
END = b"0\r\n\r\n"


class Answer(Struct, frozen=True):
    """One answer that was streamed.

    Attributes:
        first_seconds: from the request to the first text.
        gaps_seconds: from each piece of text to the next.
    """

    first_seconds: float
    gaps_seconds: tuple[float, ...]


def gaps_between(times: list[float]) -> tuple[float, ...]:
    """Return the seconds from each moment to the next."""
    return tuple(after - before for before, after in pairwise(times))


class Connection:
    """One keep-alive connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host

    @classmethod
    async def open(cls, address: str) -> "Connection":
        """Connect to a server."""
        parts = urlsplit(address)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port), host=parts.netloc)

    async def ask(self, body: bytes, *, key: str = "") -> Answer:
        """Ask once and read the whole stream."""
        authorization = f"Authorization: Bearer {key}\r\n" if key else ""
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n"
            f"{authorization}Content-Length: {len(body)}\r\n\r\n"
        )
        started = time.perf_counter()
        self._writer.write(head.encode() + body)
        times: list[float] = []
        seen, tail = b"", b""
        while not tail.endswith(END):
            piece = await self._reader.read(65536)
            if not piece:
                raise SystemExit(f"the answer was cut: {seen[:200]!r}")
            now = time.perf_counter()
            # What may be the beginning of a mark is kept; a mark that was counted is not seen again.
            seen = tail + piece
            times += [now] * seen.count(TEXT)
            tail = seen[-(len(TEXT) - 1) :]
        if not times:
            raise SystemExit(f"the answer has no text: {seen[:300]!r}")
        return Answer(times[0] - started, gaps_between(times))

    def close(self) -> None:
        """Close it."""
        self._writer.close()


async def ask_all(address: str, body: bytes, *, clients: int, requests: int, key: str = "") -> list[Answer]:
    """Return the answers of this many clients, each of which asks this often."""
    connections = [await Connection.open(address) for _ in range(clients)]

    async def run(connection: Connection) -> list[Answer]:
        return [await connection.ask(body, key=key) for _ in range(requests)]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(connection)) for connection in connections]
    for connection in connections:
        connection.close()
    return [answer for task in tasks for answer in task.result()]
