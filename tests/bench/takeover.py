"""How long a reader waits when the worker that answers is killed: from the kill to the next new token.

A standby worker is there, and everything is real: processes, RabbitMQ, Redis, and with `--engine vllm` vLLM with a tiny
model. What another worker needs to take in a prompt and what was said of the answer is measured in the same run, as the
time to the first token of a request with as long a prompt, and told beside it. The last line is one JSON object.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import Struct

from headrace.apps.cli.nodes import running_rabbitmq, running_redis
from tests.support.processes import MODEL, Deployment, EngineKind, Process, deployment, wait_for

TOKENS = 600
KILL_AFTER_TOKENS = 100


class Report(Struct, kw_only=True):
    """The last line. Times are in milliseconds."""

    engine: EngineKind
    kills: int
    takeover_p50_ms: float
    takeover_max_ms: float
    first_token_p50_ms: float


class Site:
    """A standby worker, and one that is given every request and is killed again and again."""

    def __init__(self, deployed: Deployment) -> None:
        self.address = deployed.address
        self._deployed = deployed
        deployed.start_worker()
        self._first = self._start()

    def _start(self) -> Process:
        return self._deployed.start_worker(consumer_priority=10)

    def kill(self) -> None:
        """Kill the worker that answers."""
        self._first.child.kill()
        self._first.child.wait()

    def restore(self) -> None:
        """Start another one, and return when it takes tasks."""
        self._first = self._start()


def body_of(engine: EngineKind, *, words: int = 8, tokens: int = TOKENS) -> dict[str, Any]:
    """Return a native request whose prompt has that many words."""
    parameters: dict[str, Any] = {"max_tokens": tokens, "temperature": 0.0, "ignore_eos": True}
    if engine == "scripted":
        parameters = {"provider_extensions": {"scripted": {"tokens": tokens}}}
    return {
        "model": MODEL,
        "messages": [{"role": "user", "content": "word " * words}],
        "stream": True,
        "output": {"token_ids": True},
        "generation_parameters": parameters,
    }


async def read_events(client: httpx.AsyncClient, address: str, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    """Yield the events of a stream."""
    async with client.stream("POST", f"{address}/v1/generations", json=body) as answer:
        answer.raise_for_status()
        async for line in answer.aiter_lines():
            if line.startswith("data: "):
                for event in msgspec.json.decode(line.removeprefix("data: "))["events"]:
                    if event["type"] == "generation_failed":
                        raise RuntimeError(f"the answer failed: {event['error']}")
                    yield event


async def measure_takeover(site: Site, engine: EngineKind) -> float:
    """Kill the worker in the middle of an answer, and return the seconds to the next new token."""
    told, last, waited = 0, 0.0, 0.0
    async with (
        httpx.AsyncClient(timeout=60) as client,
        aclosing(read_events(client, site.address, body_of(engine))) as events,
    ):
        async for event in events:
            if event["type"] == "sequence_delta":
                # What was on its way when the worker died arrives at once: the wait is the longest pause behind it.
                now = time.perf_counter()
                if last:
                    waited = max(waited, now - last)
                told += len(event["token_ids"])
                if told >= KILL_AFTER_TOKENS and not last:
                    site.kill()
                    now = time.perf_counter()
                last = now if last or told >= KILL_AFTER_TOKENS else 0.0
    if told != TOKENS:
        raise RuntimeError(f"{told} tokens were told, and not {TOKENS}")
    return waited


async def measure_first_token(address: str, engine: EngineKind) -> float:
    """Return the seconds to the first token of a prompt as long as what is to be taken in again."""
    body = body_of(engine, words=KILL_AFTER_TOKENS, tokens=2)
    began = time.perf_counter()
    async with httpx.AsyncClient(timeout=60) as client, aclosing(read_events(client, address, body)) as events:
        async for event in events:
            if event["type"] == "sequence_delta":
                return time.perf_counter() - began
    raise RuntimeError("no token came")


def run(engine: EngineKind, kills: int) -> Report:
    """Run the whole, and return the report."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "rabbitmq").mkdir()
        (folder / "redis").mkdir()
        node, _ = stack.enter_context(running_rabbitmq(folder / "rabbitmq"))
        redis_node, _ = stack.enter_context(running_redis(folder / "redis"))
        deployed = stack.enter_context(deployment(node, folder, redis_url=redis_node.url, engine=engine))
        deployed.start_gateway()
        site = Site(deployed)
        wait_for(deployed.is_ready, "the gateway is ready")
        first_tokens = [asyncio.run(measure_first_token(site.address, engine)) for _ in range(5)]
        takeovers: list[float] = []
        for number in range(kills):
            takeovers.append(asyncio.run(measure_takeover(site, engine)))
            sys.stdout.write(f"{takeovers[-1] * 1000:8.1f} ms\n")
            if number + 1 < kills:
                site.restore()
    return Report(
        engine=engine,
        kills=kills,
        takeover_p50_ms=round(statistics.median(takeovers) * 1000, 1),
        takeover_max_ms=round(max(takeovers) * 1000, 1),
        first_token_p50_ms=round(statistics.median(first_tokens) * 1000, 1),
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="just bench-takeover", description=__doc__)
    parser.add_argument("--engine", choices=["scripted", "vllm"], default="scripted", help="who answers")
    parser.add_argument("--kills", type=int, default=5, help="how many (default: 5)")
    arguments = parser.parse_args()
    sys.stdout.write(f"{msgspec.json.encode(run(arguments.engine, arguments.kills)).decode()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
