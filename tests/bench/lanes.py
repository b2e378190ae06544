"""The time to the first token of an urgent request while batch work fills the engine, against an idle engine.

It asks one `headrace serve` by turns, idle and full, so that whatever else the machine does falls on both alike. Full
means that twice as many batch streams as the engine has slots are open, and are opened again as they end; with
`--beams` they are beam searches.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from tests.support.serving import metric, serving

MODEL = "smollm2-135m-instruct"
SLOTS = 4
BATCH_TOKENS = 400
# About what a prefill and a step of a small model take.
SCRIPT = f"step_seconds = 0.01\n[[rules]]\nfirst_token_seconds = 0.03\ntokens = {BATCH_TOKENS}\n"
WAIT_SECONDS = 60
# The place of an online request that ended is back with batch work by then.
BETWEEN_SECONDS = 0.3


def body(max_tokens: int, *, beams: int = 0) -> dict[str, object]:
    """Return a streamed chat."""
    search = {"use_beam_search": True, "best_of": beams} if beams else {}
    return {
        "model": MODEL,
        "stream": True,
        "max_tokens": max_tokens,
        "ignore_eos": True,
        "messages": [{"role": "user", "content": "Tell me a long story about a river and a mill."}],
        **search,
    }


async def ask(client: httpx.AsyncClient) -> float:
    """Ask urgently, and return the milliseconds to the first text."""
    started, first = time.perf_counter(), 0.0
    headers = {"Headrace-Priority": "9"}
    async with client.stream("POST", "/v1/chat/completions", json=body(4), headers=headers) as answer:
        async for line in answer.aiter_lines():
            if not first and '"delta":{"content":' in line:
                first = (time.perf_counter() - started) * 1000
    return first


async def read_batch(client: httpx.AsyncClient, begun: asyncio.Semaphore, *, beams: int) -> None:
    """Keep one batch stream open for ever."""
    headers = {"Headrace-Lane": "batch", "Headrace-Timeout-Seconds": "600"}
    asked = body(BATCH_TOKENS, beams=beams)
    while True:
        async with client.stream("POST", "/v1/chat/completions", json=asked, headers=headers) as answer:
            has_begun = False
            async for line in answer.aiter_lines():
                if not has_begun and '"delta":{"content":' in line:
                    has_begun = True
                    begun.release()


@asynccontextmanager
async def full_of_batch_work(client: httpx.AsyncClient, *, beams: int) -> AsyncGenerator[None]:
    """Fill the engine for as long as the block lasts."""
    begun = asyncio.Semaphore(0)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(read_batch(client, begun, beams=beams)) for _ in range(2 * SLOTS)]
        async with asyncio.timeout(WAIT_SECONDS):
            for _ in range(SLOTS):
                await begun.acquire()
        yield
        for task in tasks:
            task.cancel()


async def measure(address: str, *, rounds: int, requests: int, beams: int) -> dict[str, list[float]]:
    """Return the milliseconds to the first text, idle and full."""
    found: dict[str, list[float]] = {"idle": [], "full": []}
    limits = httpx.Limits(max_connections=4 * SLOTS)
    async with httpx.AsyncClient(base_url=address, timeout=WAIT_SECONDS, limits=limits) as client:
        await ask(client)
        for _ in range(rounds):
            for _ in range(requests):
                found["idle"].append(await ask(client))
                await asyncio.sleep(BETWEEN_SECONDS)
            async with full_of_batch_work(client, beams=beams):
                for _ in range(requests):
                    found["full"].append(await ask(client))
                    await asyncio.sleep(BETWEEN_SECONDS)
    return found


def main() -> None:
    """Measure and print one line."""
    parser = argparse.ArgumentParser(prog="just bench-lanes", description=__doc__)
    parser.add_argument("--engine", choices=["scripted", "vllm"], default="scripted", help="(default: scripted)")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each kind (default: 3)")
    parser.add_argument("--requests", type=int, default=10, help="urgent requests in a round (default: 10)")
    parser.add_argument("--beams", type=int, default=0, help="fill it with beam searches of this width (default: none)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / "script.toml"
        script.write_text(SCRIPT)
        environment = {
            "HEADRACE_ENGINE_KIND": arguments.engine,
            "HEADRACE_ENGINE_SCRIPT": str(script),
            "HEADRACE_MODELS_SMOLLM2_135M_INSTRUCT_SLOTS": str(SLOTS),
            "HEADRACE_STORAGE_FOLDER": str(Path(".headrace").resolve()),
            "HEADRACE_LOG_LEVEL": "error",
        }
        with serving(folder=folder, environment=environment) as server:
            found = asyncio.run(
                measure(server.address, rounds=arguments.rounds, requests=arguments.requests, beams=arguments.beams)
            )
            pauses = metric(server.address, "headrace_worker_pauses_total")
    idle, full = (statistics.median(found[kind]) for kind in ("idle", "full"))
    sys.stdout.write(
        f"first token p50: idle {idle:.1f} ms, full of batch work {full:.1f} ms, ratio {full / idle:.2f}; "
        f"{pauses:.0f} pauses\n"
    )


if __name__ == "__main__":
    main()
