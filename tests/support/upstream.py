"""An HTTP server that plays what a vendor may send, byte by byte, and remembers what it was asked.

It is written on bare sockets, so that it can be as slow, ill or hostile as a test wants.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

SSE = "text/event-stream; charset=utf-8"
JSON = "application/json"
_HEAD_LIMIT = 65536


class Played(Struct, frozen=True, kw_only=True):
    """One answer.

    Attributes:
        status: of the answer.
        headers: beside the type of the content.
        content_type: empty for none.
        pieces: of the body; each is a chunk, a number is a pause in seconds, and an event is waited for.
        end: `whole` ends the body well, `cut` closes the socket, `hang` says nothing more.
        raw: sent in place of all that.
    """

    status: int = 200
    headers: dict[str, str] = {}
    content_type: str = SSE
    pieces: tuple[bytes | float | asyncio.Event, ...] = ()
    end: Literal["whole", "cut", "hang"] = "whole"
    raw: tuple[bytes, ...] = ()


class Asked(Struct, frozen=True, kw_only=True):
    """One request that came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


class Upstream(Struct, kw_only=True):
    """The server.

    Attributes:
        port: on loopback.
        plays: what each request gets, the last one again and again.
        asked: the requests, the oldest first.
        left: counts the clients that went before their answer was over.
        connections: how many were opened.
    """

    port: int = 0
    plays: list[Played] = field(default_factory=list[Played])
    asked: list[Asked] = field(default_factory=list[Asked])
    left: int = 0
    connections: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def play(self, *plays: Played) -> None:
        """Set what the next requests get."""
        self.plays = list(plays)

    async def wait_left(self, count: int = 1) -> None:
        """Wait until so many clients have gone early."""
        async with asyncio.timeout(20):
            while self.left < count:
                self.changed.clear()
                await self.changed.wait()

    async def wait_asked(self) -> None:
        """Wait until a request has come."""
        async with asyncio.timeout(20):
            while not self.asked:
                self.changed.clear()
                await self.changed.wait()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        try:
            while (asked := await _read_request(reader)) is not None:
                played = self.plays.pop(0) if len(self.plays) > 1 else self.plays[0]
                self.asked.append(asked)
                self.changed.set()
                if not await self._answer(reader, writer, played):
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            self._note_left()
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, played: Played) -> bool:
        """Play an answer; return whether the connection can go on."""
        if played.raw:
            for piece in played.raw:
                writer.write(piece)
                await writer.drain()
            if played.end == "hang" and await _has_left(reader, 30.0):
                self._note_left()
            return False
        writer.write(_to_head(played))
        for piece in played.pieces:
            if isinstance(piece, bytes):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await writer.drain()
            elif isinstance(piece, asyncio.Event):
                await piece.wait()
            elif await _has_left(reader, piece):
                self._note_left()
                return False
        if played.end == "whole":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True
        if played.end == "hang" and await _has_left(reader, 30.0):
            self._note_left()
        return False

    def _note_left(self) -> None:
        self.left += 1
        self.changed.set()


async def _has_left(reader: asyncio.StreamReader, seconds: float) -> bool:
    """Wait, and tell whether the client has closed its side meanwhile."""
    try:
        async with asyncio.timeout(seconds):
            return not await reader.read(1)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def _to_head(played: Played) -> bytes:
    headers = {"Transfer-Encoding": "chunked", "Date": "Mon, 01 Jan 2024 00:00:00 GMT", **played.headers}
    if played.content_type:
        headers["Content-Type"] = played.content_type
    lines = [f"HTTP/1.1 {played.status} Played", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


async def _read_request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, target, _ = first.split(" ")
    length = int(headers.get("content-length", "0"))
    return Asked(method=method, target=target, headers=headers, body=await reader.readexactly(length))


@asynccontextmanager
async def running_upstream() -> AsyncGenerator[Upstream]:
    """Run the server on a free port of loopback."""
    upstream = Upstream()
    tasks: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(upstream.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_HEAD_LIMIT)
    upstream.port = server.sockets[0].getsockname()[1]
    try:
        yield upstream
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def to_events(values: Sequence[Mapping[str, Any] | bytes], *, named: bool = False) -> bytes:
    """Return values as server-sent events.

    Args:
        values: JSON objects, or bytes that are sent as they are.
        named: whether each event has the name that its `type` says, as Anthropic's have.
    """
    frames: list[bytes] = []
    for value in values:
        data = value if isinstance(value, bytes) else msgspec.json.encode(value)
        name = b"event: %b\n" % str(value["type"]).encode() if named and not isinstance(value, bytes) else b""
        frames.append(b"%bdata: %b\n\n" % (name, data))
    return b"".join(frames)


def stream_of(*bodies: bytes | float | asyncio.Event, end: Literal["whole", "cut", "hang"] = "whole") -> Played:
    """Return an answer that is a stream of events."""
    return Played(pieces=bodies, end=end)


def whole_of(value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Played:
    """Return an answer that is one piece of JSON."""
    return Played(
        status=status, headers=headers or {}, content_type=JSON, pieces=(msgspec.json.encode(value),), end="whole"
    )
