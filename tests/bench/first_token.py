"""What stands in between adds to the time to the first token: RabbitMQ against memory, and counting against not.

All sides are real processes with the scripted engine: `headrace serve`; a gateway and a worker over a private RabbitMQ;
and a further gateway over the same broker and worker, with accounts, and limits in a private Redis. Rounds of the three
alternate, so that whatever else the machine does falls on all alike.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import get_args

import msgspec
from msgspec import Struct

from headrace.apps.cli.nodes import running_redis
from headrace.schema.settings.services import QueueType
from tests.bench.clients import ask_all
from tests.bench.sides import BODY, broker_settings, memory_side, running, running_gateway, script_settings
from tests.support.serving import HEADRACE, clean_environment

STEP_SECONDS = 0.005
TOKENS = 20
REQUESTS = {1: 100, 64: 5}
# More than is asked here, so that all of them are counted and none is reached.
LIMITS = ("--rpm", "10M", "--tpm", "1000M", "--concurrent", "10k", "--tokens-per-day", "1000M")


class Target(Struct, frozen=True):
    """Where a side is asked, and as whom."""

    address: str
    key: str = ""


def measure(target: Target, *, clients: int, requests: int) -> list[float]:
    """Return the milliseconds to the first text of every request."""
    answers = asyncio.run(ask_all(target.address, BODY, clients=clients, requests=requests, key=target.key))
    return [answer.first_seconds * 1000 for answer in answers]


@contextmanager
def all_sides(folder: Path, queue_type: QueueType) -> Generator[dict[str, Target]]:
    """Run everything that is compared."""
    settings = script_settings(folder, step_seconds=STEP_SECONDS, tokens=TOKENS)
    with ExitStack() as stack:
        memory = stack.enter_context(memory_side(folder, settings))
        broker = stack.enter_context(broker_settings(folder))
        redis, _ = stack.enter_context(running_redis(folder / "redis"))
        queued = {**settings, **broker.settings, "HEADRACE_REDIS_URL": redis.url}
        queued["HEADRACE_BROKER_QUEUE_TYPE"] = queue_type
        stack.enter_context(running("worker", folder, queued))
        _, address = stack.enter_context(running_gateway(folder, queued))
        metered = queued | {
            "HEADRACE_ACCOUNTS_ENABLED": "true",
            "HEADRACE_ACCOUNTS_DATABASE_URL": f"sqlite:///{folder / 'accounts.sqlite3'}",
            "HEADRACE_STORAGE_FOLDER": str(folder / "state"),
        }
        key = make_key(folder, metered)
        _, metered_address = stack.enter_context(running_gateway(folder, metered, key=key))
        yield {
            "memory": Target(memory.address),
            "rabbitmq": Target(address),
            "metered": Target(metered_address, key),
        }


def make_key(folder: Path, settings: Mapping[str, str]) -> str:
    """Return the key of a tenant with limits."""

    def ask(*words: str) -> bytes:
        command = [HEADRACE, *words, "--database", "--json"]
        return subprocess.run(
            command, cwd=folder, env=clean_environment(settings), capture_output=True, check=True, timeout=60
        ).stdout

    ask("tenants", "create", "bench", *LIMITS)
    return str(msgspec.json.decode(ask("keys", "create", "bench"))["secret"])


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (default: 5)")
    parser.add_argument("--queue-type", choices=get_args(QueueType), default="classic", help="of the task queues")
    arguments = parser.parse_args()
    rounds: int = arguments.rounds
    with tempfile.TemporaryDirectory() as name, all_sides(Path(name), arguments.queue_type) as sides:
        sys.stdout.write(
            "| clients | memory p50 / p99 ms | rabbitmq p50 / p99 ms | metered p50 / p99 ms "
            "| RabbitMQ adds p50 ms | counting adds p50 ms |\n|---|---|---|---|---|---|\n"
        )
        for clients, requests in REQUESTS.items():
            found: dict[str, list[list[float]]] = {side: [] for side in sides}
            for _ in range(rounds):
                for side, target in sides.items():
                    found[side].append(measure(target, clients=clients, requests=requests))
            sys.stdout.write(render_row(clients, found))
            sys.stdout.flush()


def render_row(clients: int, found: Mapping[str, list[list[float]]]) -> str:
    """Return one line of the table; what is added is the median over the rounds, each against its neighbour in time."""

    def show(rounds: list[list[float]]) -> str:
        values = [value for one in rounds for value in one]
        return f"{statistics.median(values):.2f} / {statistics.quantiles(values, n=100)[98]:.2f}"

    def added(after: str, before: str) -> str:
        pairs = zip(found[after], found[before], strict=True)
        return f"{statistics.median([statistics.median(more) - statistics.median(less) for more, less in pairs]):.2f}"

    cells = " | ".join(show(rounds) for rounds in found.values())
    return f"| {clients} | {cells} | {added('rabbitmq', 'memory')} | {added('metered', 'rabbitmq')} |\n"


if __name__ == "__main__":
    main()
