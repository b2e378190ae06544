"""The way of a host to the services, which can be cut: TCP proxies on loopback that stop forwarding and close nothing.

That is what a pulled cable or a firewall that drops looks like from both ends: no end and no reset, only silence. What
was sent meanwhile arrives when the way is mended, as it would from a TCP that tried again.
"""

import asyncio
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self
from urllib.parse import SplitResult, urlsplit

from headrace.transport.tasks import TaskOwner

LOOPBACK = "127.0.0.1"
READ_BYTES = 64 * 1024


class Link:
    """Proxies before some addresses, in a thread of their own; all of them are cut and mended together.

    Args:
        urls: the addresses, each with a host and a port and without a user.

    Attributes:
        urls: the same, through the proxies; there is none before the block begins.
    """

    def __init__(self, *urls: str) -> None:
        self.urls: list[str] = []
        self._targets = [urlsplit(url) for url in urls]
        self._loop = asyncio.new_event_loop()
        self._carried = TaskOwner()
        self._ready = threading.Event()
        # Set while what comes is let through.
        self._open, self._over = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def cut(self) -> None:
        """Let nothing through from now on, in either direction, nor any new connection."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Let through what waits, and what comes."""
        self._loop.call_soon_threadsafe(self._open.set)

    @contextmanager
    def being_cut(self) -> Generator[None]:
        """Cut it for as long as the block takes."""
        self.cut()
        try:
            yield
        finally:
            self.mend()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._open.set()
        servers = [await self._listen(target) for target in self._targets]
        self._ready.set()
        await self._over.wait()
        for server in servers:
            server.close()
        await self._carried.close()

    async def _listen(self, target: SplitResult) -> asyncio.Server:
        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._carried.start(self._carry(reader, writer, target), name="carry")

        server = await asyncio.start_server(accept, LOOPBACK, 0)
        port: int = server.sockets[0].getsockname()[1]
        self.urls.append(target._replace(netloc=f"{LOOPBACK}:{port}").geturl())
        return server

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: SplitResult) -> None:
        """Connect to the target, once the way is open, and carry both directions to their ends."""
        try:
            await self._open.wait()
            far_reader, far_writer = await asyncio.open_connection(target.hostname, target.port)
            try:
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            finally:
                far_writer.close()
        except OSError:
            # Nobody listens there now, as at an address of a service that is down.
            pass
        finally:
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await self._read(reader):
                writer.write(data)
                await writer.drain()
        # An end or a reset on one side is one on the other.
        writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> bytes:
        try:
            data = await reader.read(READ_BYTES)
        except OSError:
            data = b""
        # Ends and resets wait as well.
        await self._open.wait()
        return data
