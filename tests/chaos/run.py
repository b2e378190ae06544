"""Sends requests while faults strike at random moments, and counts what its clients saw.

Everything is real: two gateways with accounts, workers, RabbitMQ and Redis. The engine is the scripted one, whose every
word is known beforehand, or vLLM with a tiny model. Half of the requests are retained: they outlive their gateway, and
their clients go on at the other one. The others end with it, and are sent again. The last line is one JSON object; the
status is 0 if nothing in it is bad. The clients have a key, and each generation must be in the ledger once, with what
its client was told: what is not is `misbilled`.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec

from headrace.schema.settings.services import QueueType
from tests.chaos.answer import Answer
from tests.chaos.faults import FAULTS, deal
from tests.chaos.ledger import Tenant
from tests.chaos.load import Load, listen
from tests.chaos.orders import Order, expected_of, make_orders
from tests.chaos.report import Report, make_report
from tests.chaos.site import Site, running_site
from tests.support.processes import EngineKind

WORKERS: dict[EngineKind, int] = {"scripted": 3, "vllm": 2}
CLIENTS: dict[EngineKind, int] = {"scripted": 12, "vllm": 8}


def run(
    *,
    requests: int,
    seed: int,
    faults: Sequence[str],
    pause_seconds: float,
    engine: EngineKind = "scripted",
    queue_type: QueueType = "classic",
    clients: int | None = None,
) -> Report:
    """Run the whole, and return the report."""
    dice = random.Random(seed)  # noqa: S311 - a run that can be repeated, and no secret
    orders = make_orders(requests, dice, engine=engine)
    with (
        tempfile.TemporaryDirectory() as folder,
        running_site(Path(folder), engine=engine, queue_type=queue_type, workers=WORKERS[engine]) as site,
    ):
        tenant = Tenant(site.gateways[0].address, site.database)
        heard = [] if engine == "scripted" else listen(site.gateways, _distinct(orders), tenant.key)
        expected = expected_of(orders) if engine == "scripted" else {order.number: said.texts for order, said in heard}
        load = Load(site.gateways, orders, expected=expected, clients=clients or CLIENTS[engine], key=tenant.key)
        load.thread.start()
        struck = strike(site, load, dice, faults=faults, pause_seconds=pause_seconds)
        load.thread.join()
        site.wait_restarted()
        told: list[tuple[Order, Answer]] = [*heard, *((order, answer) for order, answer, _ in load.done)]
        misbilled = tenant.find_misbilled(told)
    for line in misbilled:
        sys.stdout.write(f"misbilled: {line}\n")
    return make_report(load.done, seed=seed, faults=struck, engine=engine, misbilled=len(misbilled))


def _distinct(orders: Sequence[Order]) -> list[Order]:
    return list({order.number: order for order in orders}.values())


def strike(site: Site, load: Load, dice: random.Random, *, faults: Sequence[str], pause_seconds: float) -> int:
    """Break things until the load is done, and return how often."""
    struck = 0
    for name in deal(faults, dice):
        time.sleep(dice.uniform(0.3, 1.0) * pause_seconds)
        if not load.thread.is_alive():
            break
        sys.stdout.write(f"{name:18} after {len(load.done)} answers\n")
        sys.stdout.flush()
        FAULTS[name](site, dice)
        struck += 1
    return struck


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="just chaos", description=__doc__)
    parser.add_argument("--requests", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--seed", type=int, default=None, help="of the faults and the requests (default: a new one)")
    parser.add_argument("--faults", default=",".join(FAULTS), help=f"which, of {', '.join(FAULTS)} (default: all)")
    parser.add_argument("--pause", type=float, default=2.0, help="most seconds between two faults (default: 2)")
    parser.add_argument("--clients", type=int, default=None, help="at once (default: 12, with vllm 8)")
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
        clients=arguments.clients,
    )
    sys.stdout.write(f"{msgspec.json.encode(report).decode()}\n")
    return int(bool(report.bad))


if __name__ == "__main__":
    sys.exit(main())
