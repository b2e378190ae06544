"""Sends requests while faults strike at random moments, and counts what its clients saw.

Everything is real but the model: gateway and worker processes, RabbitMQ and Redis, and a scripted engine whose every
word is known beforehand. The last line is one JSON object; the status is 0 if all in it but the gaps is zero.
"""

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import msgspec
from msgspec import Struct

from headrace.apps.cli.nodes import running_rabbitmq, running_redis
from tests.chaos.client import Answer, Order, Verdict, ask, judge
from tests.chaos.faults import FAULTS, Site
from tests.support.processes import MODEL, deployment, wait_for

WORKERS = 3
CLIENTS = 24
TIMEOUT_SECONDS = 90.0
BAD: tuple[Verdict, ...] = ("lost", "doubled", "reordered", "hung", "miscounted")


class Report(Struct, kw_only=True):
    """The last line."""

    requests: int
    faults: int
    lost: int
    doubled: int
    reordered: int
    hung: int
    miscounted: int
    gap_p50_ms: float
    gap_p99_ms: float
    seed: int


class Load:
    """Clients in a thread of their own: the main thread breaks things, and nodes end with the thread that starts them.

    Args:
        address: of the gateway.
        orders: what they ask.
    """

    def __init__(self, address: str, orders: Sequence[Order]) -> None:
        self.done: list[tuple[Order, Answer, Verdict]] = []
        self._address = address
        self._waiting = list(reversed(orders))
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
        async with httpx.AsyncClient(limits=limits, timeout=TIMEOUT_SECONDS) as client, asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._ask_on(client))

    async def _ask_on(self, client: httpx.AsyncClient) -> None:
        while self._waiting:
            order = self._waiting.pop()
            answer = await ask(client, self._address, order, model=MODEL)
            self.done.append((order, answer, judge(order, answer)))


def make_orders(count: int, dice: random.Random) -> list[Order]:
    """Return what is asked: short and long answers, one and several sequences."""
    return [
        Order(
            number=number,
            tokens=dice.choice((5, 40, 150, 400)),
            sequences=dice.choice((1, 1, 1, 3)),
            seed=dice.randrange(2**31),
            timeout_seconds=TIMEOUT_SECONDS,
        )
        for number in range(count)
    ]


def run(*, requests: int, seed: int, faults: Sequence[str], pause_seconds: float) -> Report:
    """Run the whole, and return the report."""
    dice = random.Random(seed)  # noqa: S311 - a run that can be repeated, and no secret
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "rabbitmq").mkdir()
        (folder / "redis").mkdir()
        node, broker = stack.enter_context(running_rabbitmq(folder / "rabbitmq"))
        redis_node, redis = stack.enter_context(running_redis(folder / "redis"))
        deployed = stack.enter_context(deployment(node, folder, redis_url=redis_node.url))
        site = Site(deployed, broker=broker, redis=redis)
        deployed.start_gateway()
        for _ in range(WORKERS):
            site.add_worker()
        site.wait_workers()
        wait_for(deployed.is_ready, "the gateway is ready")
        load = Load(deployed.address, make_orders(requests, dice))
        load.thread.start()
        struck = strike(site, load, dice, faults=faults, pause_seconds=pause_seconds)
        load.thread.join()
    return make_report(load, seed=seed, struck=struck)


def strike(site: Site, load: Load, dice: random.Random, *, faults: Sequence[str], pause_seconds: float) -> int:
    """Break things until the load is done, and return how often."""
    struck = 0
    while load.thread.is_alive():
        time.sleep(dice.uniform(0.3, 1.0) * pause_seconds)
        if not load.thread.is_alive():
            break
        name = dice.choice(faults)
        sys.stdout.write(f"{name:16} after {len(load.done)} answers\n")
        FAULTS[name](site, dice)
        struck += 1
    return struck


def make_report(load: Load, *, seed: int, struck: int) -> Report:
    """Count verdicts and gaps."""
    verdicts = Counter(verdict for _, _, verdict in load.done)
    for order, answer, verdict in load.done:
        if verdict != "whole":
            told = {index: len(text) for index, text in answer.texts.items()}
            sys.stdout.write(f"{verdict}: {order} failure={answer.failure} told={told} usage={answer.output_tokens}\n")
    gaps = sorted(answer.longest_gap_seconds * 1000 for _, answer, _ in load.done) or [0.0, 0.0]
    return Report(
        requests=len(load.done),
        faults=struck,
        lost=verdicts["lost"],
        doubled=verdicts["doubled"],
        reordered=verdicts["reordered"],
        hung=verdicts["hung"],
        miscounted=verdicts["miscounted"],
        gap_p50_ms=round(statistics.median(gaps), 1),
        gap_p99_ms=round(gaps[int(len(gaps) * 0.99)], 1),
        seed=seed,
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="just chaos", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, default=None, help="of the faults and the requests (default: a new one)")
    parser.add_argument("--faults", default=",".join(FAULTS), help=f"which, of {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--pause", type=float, default=4.0, help="most seconds between two faults (default: 4)")
    arguments = parser.parse_args()
    faults: list[str] = arguments.faults.split(",")
    if unknown := set(faults) - FAULTS.keys():
        parser.error(f"unknown faults: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    seed: int = random.SystemRandom().randrange(2**31) if arguments.seed is None else arguments.seed
    sys.stdout.write(f"seed {seed}\n")
    report = run(requests=arguments.requests, seed=seed, faults=faults, pause_seconds=arguments.pause)
    sys.stdout.write(f"{msgspec.json.encode(report).decode()}\n")
    return int(any(getattr(report, name) for name in BAD))


if __name__ == "__main__":
    sys.exit(main())
