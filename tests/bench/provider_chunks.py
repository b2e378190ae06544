"""What a chunk of a provider's stream costs: CPU time of this process, from the socket to the frame for the client.

A vendor is played by a process of its own. Paced chunks come one by one, as a vendor's do, so that each is a wake-up;
in a burst many come in one read. `adapter` ends with our events, `dialect` with the frames of OpenAI's dialect, and
`read` is aiohttp alone, which reads the same bytes and looks at none of them.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial

import aiohttp

from headrace.gateway.dialects.openai.chat.stream import OpenAIRendering
from headrace.providers.base import Provider, ProviderCall
from headrace.providers.build import build_provider
from headrace.scheduler.base import Submission
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest
from headrace.schema.settings import ProviderSettings
from tests.support.upstream import to_events
from tests.support.vendor_streams import chat_chunk, chat_usage, gemini_chunk, messages_stream

CHUNKS = 400
STREAMS = 16
PACE_SECONDS = 0.004
REQUEST = ChatCompletionRequest(model="m", messages=(Message("user", "Hello"),))
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def body_of(kind: str) -> tuple[bytes, list[bytes], bytes]:
    """Return the beginning of a stream, its chunks and its end."""
    if kind == "openai":
        first = to_events([chat_chunk({"role": "assistant", "content": ""})])
        last = to_events([chat_chunk(finish="stop"), chat_usage(10, CHUNKS), b"[DONE]"])
        return first, [to_events([chat_chunk({"content": f" word{i}"})]) for i in range(CHUNKS)], last
    if kind == "anthropic":
        deltas = [{"type": "text_delta", "text": f" word{i}"} for i in range(CHUNKS)]
        values = messages_stream(
            [[{"type": "text", "text": ""}, *deltas]], stop="end_turn", usage={"output_tokens": CHUNKS}
        )
        frames = [to_events([value], named=True) for value in values]
        return b"".join(frames[:3]), frames[3 : 3 + CHUNKS], b"".join(frames[3 + CHUNKS :])
    usage = {"promptTokenCount": 10, "candidatesTokenCount": CHUNKS}
    chunks = [to_events([gemini_chunk({"text": f" word{i}"}, usage=usage)]) for i in range(CHUNKS)]
    return to_events([gemini_chunk({"text": "A"})]), chunks, to_events([gemini_chunk(finish="STOP", usage=usage)])


async def serve(*, paced: bool) -> None:
    """Play the vendors until the standard input ends."""
    bodies = {kind: body_of(kind) for kind in ("openai", "anthropic", "gemini")}

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await answer(reader, writer)
        writer.close()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            target = head.split(b" ", 2)[1]
            kind = "anthropic" if b"messages" in target else "gemini" if b"alt=sse" in target else "openai"
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            await reader.readexactly(int(length.partition(b":")[2]))
            first, chunks, last = bodies[kind]
            writer.write(_HEAD + _chunk(first))
            for chunk in chunks:
                if paced:
                    await asyncio.sleep(PACE_SECONDS)
                writer.write(_chunk(chunk))
            writer.write(_chunk(last) + b"0\r\n\r\n")
            await writer.drain()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@asynccontextmanager
async def vendor(*, paced: bool) -> AsyncGenerator[str]:
    """Run the vendors in a process of their own, and yield the address."""
    command = [sys.executable, "-m", "tests.bench.provider_chunks", "--serve", "paced" if paced else "burst"]
    process = await asyncio.create_subprocess_exec(*command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    assert process.stdin
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.stdin.close()
        await process.wait()


async def read_events(provider: Provider) -> int:
    """Read a stream as events, and return how many lists there were."""
    lists = 0
    call = ProviderCall(request_id="gen_1", request=REQUEST, timeout_seconds=600.0)
    async with aclosing(provider.generate(call)) as batches:
        async for _ in batches:
            lists += 1
    return lists


async def read_frames(provider: Provider) -> int:
    """Read a stream as the frames of OpenAI's dialect."""
    lists = 0
    submission = Submission(request_id="gen_1", request=REQUEST, priority=5, timeout_seconds=600.0)
    rendering = OpenAIRendering(submission, include_usage=True, forced_function=False)
    call = ProviderCall(request_id="gen_1", request=REQUEST, timeout_seconds=600.0)
    async with aclosing(provider.generate(call)) as batches:
        async for events in batches:
            rendering.render_events(events)
            lists += 1
    return lists


async def read_bytes(session: aiohttp.ClientSession, url: str) -> int:
    """Read a stream and look at nothing."""
    lists = 0
    async with session.post(url, data=b"{}") as response:
        while await response.content.readany():
            lists += 1
    return lists


async def measure(kind: str, address: str, how: str) -> tuple[float, float]:
    """Return the microseconds of CPU for each chunk, and how many chunks came in one list."""
    base = {"openai": "/v1", "anthropic": "", "gemini": "/v1beta"}[kind]
    provider = build_provider("bench", ProviderSettings(kind=kind, base_url=address + base))  # pyright: ignore[reportArgumentType]
    path = {"openai": "/v1/chat", "anthropic": "/messages", "gemini": "/x?alt=sse"}[kind]
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        work = {
            "read": partial(read_bytes, session, address + path),
            "adapter": partial(read_events, provider),
            "dialect": partial(read_frames, provider),
        }[how]
        await work()
        started = time.process_time()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work()) for _ in range(STREAMS)]
        spent = time.process_time() - started
    await provider.close()
    return spent / (STREAMS * CHUNKS) * 1e6, STREAMS * CHUNKS / sum(task.result() for task in tasks)


async def run(rounds: int) -> None:
    """Measure and print a table."""
    sys.stdout.write(
        "| vendor | pace | read µs | adapter µs | dialect µs | chunks in a list |\n|---|---|---|---|---|---|\n"
    )
    for paced in (True, False):
        async with vendor(paced=paced) as address:
            for kind in ("openai", "anthropic", "gemini"):
                found: dict[str, list[tuple[float, float]]] = {"read": [], "adapter": [], "dialect": []}
                for _ in range(rounds):
                    for how, values in found.items():
                        values.append(await measure(kind, address, how))
                costs = [statistics.median([cost for cost, _ in values]) for values in found.values()]
                together = statistics.median([count for _, count in found["dialect"]])
                cells = " | ".join(f"{cost:.1f}" for cost in costs)
                sys.stdout.write(f"| {kind} | {'paced' if paced else 'burst'} | {cells} | {together:.1f} |\n")
                sys.stdout.flush()


def main() -> None:
    """Play the vendor, or measure."""
    parser = argparse.ArgumentParser(prog="just bench-providers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each (default: 3)")
    parser.add_argument("--serve", choices=("paced", "burst"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve(paced=arguments.serve == "paced"))
    else:
        asyncio.run(run(arguments.rounds))


if __name__ == "__main__":
    main()
