# pyright: reportUnknownMemberType=false
"""pika on the loop's own streams, against a peer that counts and answers nothing."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

from pika.adapters.utils.nbio_interface import AbstractStreamProtocol
from pika.spec import Basic, BasicProperties

from headrace.transport.rabbitmq.services import LoopServices, OnePieceConnection
from headrace.transport.tasks import TaskOwner

WAIT_SECONDS = 10


class Recorder(AbstractStreamProtocol):
    """A protocol as pika has them, that keeps what it hears."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.ended: asyncio.Future[BaseException | None] = asyncio.get_running_loop().create_future()
        self.ends_itself = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, error: BaseException | None) -> None:
        self.ended.set_result(error)

    def eof_received(self) -> bool:
        self.ends_itself = True
        return False

    def data_received(self, data: bytes) -> None:
        self.heard.put_nowait(data)


@asynccontextmanager
async def services() -> AsyncGenerator[LoopServices]:
    tasks = TaskOwner()
    yield LoopServices(asyncio.get_running_loop(), tasks)
    await tasks.close()


@asynccontextmanager
async def peer(answer: bytes = b"") -> AsyncGenerator[tuple[tuple[str, int], asyncio.Queue[bytes]]]:
    """A server that says something, keeps what it is told until the other side ends, and ends after `bye`."""
    told: asyncio.Queue[bytes] = asyncio.Queue()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                told.put_nowait(data)
                if data == b"bye":
                    break
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[:2], told


def resolved(found: "asyncio.Future[Any]") -> Callable[[Any], None]:
    return lambda result: None if found.done() else found.set_result(result)


async def connect(made: LoopServices, address: tuple[str, int]) -> Recorder:
    """Connect as pika does: a socket, its connection, and then the stream."""
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[BaseException | None] = loop.create_future()
    linked: asyncio.Future[Any] = loop.create_future()
    sock = socket.socket()
    sock.setblocking(False)
    async with asyncio.timeout(WAIT_SECONDS):
        made.connect_socket(sock, address, resolved(connected))
        assert await connected is None
        made.create_streaming_connection(Recorder, sock, resolved(linked))
        transport, protocol = await linked
    assert isinstance(protocol, Recorder)
    assert protocol.transport is transport
    return protocol


async def test_a_stream_says_hears_and_is_aborted() -> None:
    async with peer(b"hello") as (address, told), services() as made:
        protocol = await connect(made, address)
        protocol.transport.write(b"one")
        async with asyncio.timeout(WAIT_SECONDS):
            assert await told.get() == b"one"
            assert await protocol.heard.get() == b"hello"
        assert protocol.transport.get_write_buffer_size() == 0
        protocol.transport.abort()
        async with asyncio.timeout(WAIT_SECONDS):
            assert await protocol.ended is None
        assert not protocol.ends_itself


async def test_the_end_of_the_other_side_is_heard() -> None:
    async with peer() as (address, _), services() as made:
        protocol = await connect(made, address)
        protocol.transport.write(b"bye")
        async with asyncio.timeout(WAIT_SECONDS):
            await protocol.ended
        assert protocol.ends_itself


async def test_failures_are_told_and_what_was_given_up_is_not() -> None:
    loop = asyncio.get_running_loop()
    async with services() as made:
        with socket.socket() as unused, socket.socket() as sock:
            unused.bind(("127.0.0.1", 0))
            sock.setblocking(False)
            refused: asyncio.Future[Any] = loop.create_future()
            made.connect_socket(sock, unused.getsockname()[:2], resolved(refused))
            async with asyncio.timeout(WAIT_SECONDS):
                assert isinstance(await refused, ConnectionRefusedError)
        found: asyncio.Future[Any] = loop.create_future()
        made.getaddrinfo("127.0.0.1", 5672, resolved(found))
        async with asyncio.timeout(WAIT_SECONDS):
            assert (await found)[0][4] == ("127.0.0.1", 5672)
        given_up: asyncio.Future[Any] = loop.create_future()
        assert made.getaddrinfo("127.0.0.1", 5672, resolved(given_up)).cancel()
        timer = made.call_later(0.0, lambda: given_up.set_result(None))
        timer.cancel()
        called: asyncio.Future[None] = loop.create_future()
        made.add_callback_threadsafe(lambda: called.set_result(None))
        async with asyncio.timeout(WAIT_SECONDS):
            await called
        assert not given_up.done()


async def test_a_stream_that_can_not_be_made_closes_its_socket() -> None:
    async with services() as made:
        failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        datagrams = socket.socket(type=socket.SOCK_DGRAM)
        datagrams.setblocking(False)
        made.create_streaming_connection(Recorder, datagrams, resolved(failed))
        async with asyncio.timeout(WAIT_SECONDS):
            assert isinstance(await failed, ValueError)
        assert datagrams.fileno() == -1
        given_up = socket.socket()
        assert made.create_streaming_connection(Recorder, given_up, resolved(failed)).cancel()
        assert given_up.fileno() == -1


async def test_a_message_is_one_piece() -> None:
    """A publish is a method, a header and a body for pika; for the broker it is one packet."""
    written: list[bytes] = []
    async with services() as made:
        given: Any = made
        connection: Any = OnePieceConnection(custom_ioloop=given, internal_connection_workflow=False)
        connection._body_max_length = 1000
        connection._transport = SimpleNamespace(write=written.append)
        connection._send_message(1, Basic.Publish(exchange="", routing_key="queue"), (BasicProperties(), b"body"))
    assert len(written) == 1
    assert written[0].count(b"\xce") == 3
