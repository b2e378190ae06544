# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
"""pika's asyncio connection on the loop's own streams.

pika alone watches the socket itself: a message is three pieces, each of them a system call and a packet of its own,
which are sent after a turn of the loop that only waits for the socket to be writable; and it is read 4 KiB at a time.
Here a message is one piece, which is sent at once, and what has come is read as a whole.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, cast

from pika.adapters.asyncio_connection import AsyncioConnection
from pika.adapters.utils.nbio_interface import (
    AbstractIOReference,
    AbstractIOServices,
    AbstractStreamProtocol,
    AbstractStreamTransport,
    AbstractTimerReference,
)

from headrace.transport.tasks import TaskOwner

_Connected = Callable[[BaseException | tuple[AbstractStreamTransport, AbstractStreamProtocol]], None]


class OnePieceConnection(AsyncioConnection):
    """A connection that writes a message as one piece."""

    def _output_marshaled_frames(self, marshaled_frames: Sequence[bytes]) -> None:
        connection: Any = super()
        connection._output_marshaled_frames([b"".join(marshaled_frames)])  # noqa: SLF001 - pika shows it nowhere else


class LoopServices(AbstractIOServices):
    """pika's I/O on an event loop.

    Args:
        loop: the running loop.
        tasks: owns what is waited for while a connection is made.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, tasks: TaskOwner) -> None:
        self._loop = loop
        self._tasks = tasks

    def get_native_ioloop(self) -> asyncio.AbstractEventLoop:
        """Return the loop."""
        return self._loop

    def close(self) -> None:
        """Do nothing: the loop is not pika's."""

    def run(self) -> None:
        """Do nothing: the loop runs."""

    def stop(self) -> None:
        """Do nothing: the loop is not pika's."""

    def add_callback_threadsafe(self, callback: Callable[..., None]) -> None:
        """Call back soon; may be called from another thread."""
        self._loop.call_soon_threadsafe(callback)

    def call_later(self, delay: float, callback: Callable[..., None]) -> AbstractTimerReference:
        """Call back after `delay` seconds."""
        return _Timer(self._loop.call_later(delay, callback))

    def getaddrinfo(
        self,
        host: str,
        port: int,
        on_done: Callable[..., None],
        family: int = 0,
        socktype: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> AbstractIOReference:
        """Look an address up."""
        lookup = partial(self._loop.getaddrinfo, host, port, family=family, type=socktype, proto=proto, flags=flags)
        return self._start(lookup, on_done, name="rabbitmq address")

    def connect_socket(
        self, sock: socket.socket, resolved_addr: tuple[str, int], on_done: Callable[[BaseException | None], None]
    ) -> AbstractIOReference:
        """Connect a socket to an address that was looked up."""
        return self._start(partial(self._loop.sock_connect, sock, resolved_addr), on_done, name="rabbitmq connect")

    def create_streaming_connection(
        self,
        protocol_factory: Callable[[], AbstractStreamProtocol],
        sock: socket.socket,
        on_done: _Connected,
        ssl_context: ssl.SSLContext | None = None,
        server_hostname: str | None = None,
    ) -> AbstractIOReference:
        """Make a stream of a connected socket, which is closed with it, and with TLS where there is a context."""
        linked = False

        def note_linked(result: BaseException | tuple[AbstractStreamTransport, AbstractStreamProtocol]) -> None:
            nonlocal linked
            linked = True
            on_done(result)

        def drop() -> None:
            # Once linked, it is the transport's to close.
            if not linked:
                sock.close()

        def end(result: Any) -> None:
            # Once linked, whatever happens is the protocol's to hear.
            if isinstance(result, BaseException) and not linked:
                drop()
                on_done(result)

        stream = partial(
            self._loop.create_connection,
            lambda: _Stream(protocol_factory, note_linked),
            sock=sock,
            ssl=ssl_context,
            server_hostname=None if ssl_context is None else server_hostname or "",
        )
        return self._start(stream, end, name="rabbitmq stream", on_cancel=drop)

    def _start(
        self,
        begin: Callable[[], Awaitable[Any]],
        on_done: Callable[[Any], None],
        *,
        name: str,
        on_cancel: Callable[[], None] = lambda: None,
    ) -> AbstractIOReference:
        return _Pending(self._tasks.start(_report(begin, on_done), name=name), on_cancel)


async def _report(begin: Callable[[], Awaitable[Any]], on_done: Callable[[Any], None]) -> None:
    try:
        result = await begin()
    except Exception as error:  # noqa: BLE001 - pika's edge: it is told of every failure, and decides what it means
        result = error
    on_done(result)


class _Timer(AbstractTimerReference):
    def __init__(self, handle: asyncio.TimerHandle) -> None:
        self._handle = handle

    def cancel(self) -> None:
        self._handle.cancel()


class _Pending(AbstractIOReference):
    def __init__(self, task: "asyncio.Task[None]", on_cancel: Callable[[], None]) -> None:
        self._task = task
        self._on_cancel = on_cancel

    def cancel(self) -> bool:
        is_given_up = self._task.cancel()
        if is_given_up:
            self._on_cancel()
        return is_given_up


class _Stream(asyncio.Protocol):
    """Passes what the loop says on to pika's protocol, which is made when there is a connection to say it about."""

    def __init__(self, factory: Callable[[], AbstractStreamProtocol], on_linked: _Connected) -> None:
        self._factory = factory
        self._on_linked = on_linked
        self._protocol: AbstractStreamProtocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # The loop's transport has all that pika wants of one.
        stream = cast("AbstractStreamTransport", transport)
        self._protocol = self._factory()
        self._protocol.connection_made(stream)
        # In the same turn, so that the broker's answer finds whoever waits for it.
        self._on_linked((stream, self._protocol))

    def data_received(self, data: bytes) -> None:
        if self._protocol is not None:
            self._protocol.data_received(data)

    def eof_received(self) -> bool:
        return self._protocol is not None and bool(self._protocol.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(exc)
