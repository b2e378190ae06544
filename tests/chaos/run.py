"""Sends requests while faults strike at random moments, and counts what its clients saw.

Everything is real: gateway and worker processes, RabbitMQ and Redis. The engine is the scripted one, whose every word
is known beforehand, or vLLM with a tiny model. The last line is one JSON object; the status is 0 if all in it but the
gaps is zero. The clients have a key, and what the ledger says of it must be what they were told: rows and tokens that
are missing or too many are `misbilled`. What has `diverged` is not counted as bad: every token came once and was
counted, and vLLM chose another one than it did alone, as it may in another batch.
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
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import get_args

import httpx
import msgspec
from msgspec import Struct

from headrace.apps.cli.nodes import running_rabbitmq, running_redis
from headrace.schema.settings.services import QueueType
from tests.chaos.client import Answer, Verdict, ask, judge
from tests.chaos.faults import FAULTS, Site
from tests.chaos.ledger import ADMIN_KEY, Billed, Tenant
from tests.chaos.orders import TIMEOUT_SECONDS, Order, expected_of, make_orders
from tests.support.processes import MODEL, EngineKind, deployment, wait_for

WORKERS: dict[EngineKind, int] = {"scripted": 3, "vllm": 2}
CLIENTS: dict[EngineKind, int] = {"scripted": 24, "vllm": 8}
BAD = ("lost", "doubled", "reordered", "hung", "miscounted", "misbilled")


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
    engine: EngineKind = "scripted"
    diverged: int = 0
    misbilled: int = 0


class Load:
    """Clients in a thread of their own: the main thread breaks things, and nodes end with the thread that starts them.

    Args:
        address: of the gateway.
        orders: what they ask.
        expected: what each sequence of each order must say; by the number of the order.
        clients: at once.
        key: of all of them.
    """

    def __init__(
        self,
        address: str,
        orders: Sequence[Order],
        *,
        expected: Mapping[int, Mapping[int, str]],
        clients: int,
        key: str,
    ) -> None:
        self.done: list[tuple[Order, Answer, Verdict]] = []
        self._address = address
        self._waiting = list(reversed(orders))
        self._expected = expected
        self._clients = clients
        self._headers = bearer(key)
        self.thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    async def _run(self) -> None:
        limits = httpx.Limits(max_connections=self._clients, max_keepalive_connections=self._clients)
        async with (
            httpx.AsyncClient(limits=limits, timeout=TIMEOUT_SECONDS, headers=self._headers) as client,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(self._clients):
                group.create_task(self._ask_on(client))

    async def _ask_on(self, client: httpx.AsyncClient) -> None:
        while self._waiting:
            order = self._waiting.pop()
            answer = await ask(client, self._address, order, model=MODEL)
            self.done.append((order, answer, judge(order, answer, self._expected[order.number])))


def bearer(key: str) -> dict[str, str]:
    """Return the headers of a client with a key."""
    return {"Authorization": f"Bearer {key}"}


def listen(address: str, orders: Sequence[Order], key: str) -> Mapping[int, Mapping[int, str]]:
    """Return what undisturbed answers say."""

    async def ask_all() -> dict[int, Mapping[int, str]]:
        heard: dict[int, Mapping[int, str]] = {}
        async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, headers=bearer(key)) as client:
            for order in orders:
                answer = await ask(client, address, order, model=MODEL)
                if answer.failure is not None or answer.is_hung:
                    raise RuntimeError(f"{order} was not answered before anything broke: {answer.failure}")
                heard[order.number] = answer.texts
        return heard

    return asyncio.run(ask_all())


def run(
    *,
    requests: int,
    seed: int,
    faults: Sequence[str],
    pause_seconds: float,
    engine: EngineKind = "scripted",
    queue_type: QueueType = "classic",
) -> Report:
    """Run the whole, and return the report."""
    dice = random.Random(seed)  # noqa: S311 - a run that can be repeated, and no secret
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "rabbitmq").mkdir()
        (folder / "redis").mkdir()
        node, broker = stack.enter_context(running_rabbitmq(folder / "rabbitmq"))
        redis_node, redis = stack.enter_context(running_redis(folder / "redis"))
        parts = deployment(node, folder, redis_url=redis_node.url, engine=engine, queue_type=queue_type)
        deployed = stack.enter_context(parts)
        site = Site(deployed, broker=broker, redis=redis)
        deployed.start_gateway(HEADRACE_ACCOUNTS_ENABLED="true", HEADRACE_ACCOUNTS_ADMIN_KEY=ADMIN_KEY)
        for _ in range(WORKERS[engine]):
            site.add_worker()
        site.wait_workers()
        wait_for(deployed.is_ready, "the gateway is ready")
        orders = make_orders(requests, dice, engine=engine)
        distinct = list({order.number: order for order in orders}.values())
        tenant = Tenant(deployed.address)
        stack.callback(tenant.close)
        is_known = engine == "scripted"
        expected = expected_of(orders) if is_known else listen(deployed.address, distinct, tenant.key)
        load = Load(deployed.address, orders, expected=expected, clients=CLIENTS[engine], key=tenant.key)
        load.thread.start()
        struck = strike(site, load, dice, faults=faults, pause_seconds=pause_seconds)
        load.thread.join()
        told = Billed(len(load.done), sum(answer.output_tokens or 0 for _, answer, _ in load.done))
        before = Billed(0, 0) if is_known else Billed(len(distinct), sum(o.tokens * o.sequences for o in distinct))
        billed = tenant.read_bill(requests=told.requests + before.requests)
    misbilled = abs(billed.requests - told.requests - before.requests)
    misbilled += abs(billed.output_tokens - told.output_tokens - before.output_tokens)
    return make_report(load, seed=seed, struck=struck, engine=engine, misbilled=misbilled)


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


def make_report(load: Load, *, seed: int, struck: int, engine: EngineKind, misbilled: int) -> Report:
    """Count verdicts and gaps."""
    verdicts = Counter(verdict for _, _, verdict in load.done)
    for order, answer, verdict in load.done:
        if verdict not in ("whole", "diverged"):
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
        engine=engine,
        diverged=verdicts["diverged"],
        misbilled=misbilled,
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="just chaos", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, default=None, help="of the faults and the requests (default: a new one)")
    parser.add_argument("--faults", default=",".join(FAULTS), help=f"which, of {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--pause", type=float, default=4.0, help="most seconds between two faults (default: 4)")
    parser.add_argument("--engine", choices=["scripted", "vllm"], default="scripted", help="who answers")
    parser.add_argument("--queue-type", choices=get_args(QueueType), default="classic", help="of the task queues")
    arguments = parser.parse_args()
    faults: list[str] = arguments.faults.split(",")
    if unknown := set(faults) - FAULTS.keys():
        parser.error(f"unknown faults: {', '.join(sorted(unknown))}; there are {', '.join(FAULTS)}")
    seed: int = random.SystemRandom().randrange(2**31) if arguments.seed is None else arguments.seed
    sys.stdout.write(f"seed {seed}\n")
    report = run(
        requests=arguments.requests,
        seed=seed,
        faults=faults,
        pause_seconds=arguments.pause,
        engine=arguments.engine,
        queue_type=arguments.queue_type,
    )
    sys.stdout.write(f"{msgspec.json.encode(report).decode()}\n")
    return int(any(getattr(report, name) for name in BAD))


if __name__ == "__main__":
    sys.exit(main())
