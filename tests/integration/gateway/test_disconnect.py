"""A client that leaves takes its generation with it, at once, whatever the gateway is doing for it."""

import asyncio
import socket
import struct
import time

import pytest

from headrace.gateway.headers import REQUEST_ID_HEADER
from headrace.schema.events import GenerationStarted, SequenceDelta, SequenceStarted
from headrace.schema.settings import GatewaySettings
from tests.integration.gateway.conftest import Run, Serve
from tests.integration.gateway.raw import connect, encode_call
from tests.unit.gateway.doubles import CHAT, ScriptedGeneration, ScriptedSource, make_app

PATHS = ["/v1/chat/completions", "/v1/generations"]
# Milliseconds on an idle machine; the machine may not be idle.
AT_ONCE_SECONDS = 2.0
STILL_TURNS = 500


async def left(source: ScriptedSource) -> float:
    """Wait until the one generation is closed, and return how long that took."""
    start = time.perf_counter()
    await source.until(lambda: source.generations[0].closed > 0)
    assert source.generations[0].closed == 1
    return time.perf_counter() - start


async def stalled(generation: ScriptedGeneration) -> int:
    """Wait until the flood stands still, which the source never does by itself, and return how often it was read."""
    read, turns = -1, 0
    while turns < STILL_TURNS:
        turns = turns + 1 if read == generation.read else 0
        read = generation.read
        await asyncio.sleep(0)
    return read


@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_does_not_read_leaves(run: Run, serve: Serve, path: str) -> None:
    async def play() -> None:
        source = ScriptedSource(repeated=(SequenceDelta(0, "x" * 4096),))
        async with serve(make_app(source)) as port:
            client = connect(port)
            await asyncio.get_running_loop().sock_sendall(client, encode_call(path, CHAT | {"stream": True}))
            await source.until(lambda: bool(source.generations))
            read = await stalled(source.generations[0])
            assert source.generations[0].closed == 0

            client.close()
            assert await left(source) < AT_ONCE_SECONDS
            assert source.generations[0].read <= read + 2

    run(play())


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_waits_leaves(run: Run, serve: Serve, path: str, stream: bool) -> None:
    async def play() -> None:
        source = ScriptedSource((GenerationStarted("w", 1), SequenceStarted(0)), asyncio.Event())
        async with serve(make_app(source)) as port:
            client = connect(port)
            await asyncio.get_running_loop().sock_sendall(client, encode_call(path, CHAT | {"stream": stream}))
            await source.until(lambda: bool(source.generations) and source.generations[0].read == 2)
            client.close()
            assert await left(source) < AT_ONCE_SECONDS

    run(play())


def test_a_client_that_waits_for_headers_leaves(run: Run, serve: Serve) -> None:
    async def play() -> None:
        source = ScriptedSource(asyncio.Event())
        async with serve(make_app(source, settings=GatewaySettings(header_wait_seconds=3600))) as port:
            client = connect(port)
            await asyncio.get_running_loop().sock_sendall(client, encode_call(PATHS[0], CHAT | {"stream": True}))
            await source.until(lambda: bool(source.generations) and source.generations[0].read == 1)
            client.close()
            assert await left(source) < AT_ONCE_SECONDS

    run(play())


def test_a_client_that_resets_leaves(run: Run, serve: Serve) -> None:
    async def play() -> None:
        source = ScriptedSource((GenerationStarted("w", 1), SequenceStarted(0)), asyncio.Event())
        async with serve(make_app(source)) as port:
            loop = asyncio.get_running_loop()
            client = connect(port)
            await loop.sock_sendall(client, encode_call(PATHS[0], CHAT | {"stream": True}))
            head = await loop.sock_recv(client, 65536)
            assert head.startswith(b"HTTP/1.1 200 ")
            assert REQUEST_ID_HEADER.lower().encode() in head.lower()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
            assert await left(source) < AT_ONCE_SECONDS

    run(play())
