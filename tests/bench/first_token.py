"""What the durable path adds to the time to the first token: RabbitMQ against memory, in one run.

Both sides are real processes with the scripted engine: `headrace serve`, and a gateway and a worker over a private
RabbitMQ. Rounds of the two alternate, so that whatever else the machine does falls on both alike.
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import httpx
import msgspec

from headrace.apps.cli.nodes import free_ports, running_rabbitmq
from headrace.schema.settings.services import QueueType
from tests.support.serving import clean_environment, serving

MODEL = "smollm2-135m-instruct"
SCRIPT = 'step_seconds = 0.005\n[[rules]]\nwhen = ""\ntokens = 20\n'
BODY = msgspec.json.encode({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
START_SECONDS = 60


class Connection:
    """One keep-alive connection that asks again and again."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, address: str) -> "Connection":
        parts = urlsplit(address)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port))

    async def ask(self) -> float:
        """Ask once, read the whole stream, and return the seconds to the first text."""
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(BODY)}\r\n\r\n"
        started = time.perf_counter()
        self._writer.write(head.encode() + BODY)
        seen, first = b"", 0.0
        while not seen.endswith(b"0\r\n\r\n"):
            piece = await self._reader.read(65536)
            if not piece:
                raise SystemExit(f"the answer was cut: {seen[:200]!r}")
            seen += piece
            if not first and b'"delta":{"content":' in seen:
                first = time.perf_counter() - started
        return first

    def close(self) -> None:
        self._writer.close()


async def measure(address: str, *, clients: int, requests: int) -> list[float]:
    """Return the milliseconds to the first text of every request."""
    connections = [await Connection.open(address) for _ in range(clients)]

    async def run(connection: Connection) -> list[float]:
        return [await connection.ask() for _ in range(requests)]

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(connection)) for connection in connections]
    for connection in connections:
        connection.close()
    return [first * 1000 for task in tasks for first in task.result()]


@contextmanager
def processes_over_rabbitmq(folder: Path, queue_type: QueueType) -> Generator[str]:
    """Run a gateway and a worker over a private RabbitMQ; yield the gateway's address."""
    with ExitStack() as stack:
        node, _ = stack.enter_context(running_rabbitmq(folder / "rabbitmq"))
        (port,) = free_ports(1)
        environment = clean_environment(
            settings_for(folder)
            | {
                "HEADRACE_BROKER_URL": node.url,
                "HEADRACE_BROKER_USERNAME": node.username,
                "HEADRACE_BROKER_PASSWORD": node.password,
                "HEADRACE_BROKER_QUEUE_TYPE": queue_type,
                "HEADRACE_GATEWAY_PORT": str(port),
                "HEADRACE_LOG_LEVEL": "error",
            }
        )
        for app in ("gateway", "worker"):
            process = subprocess.Popen([sys.executable, "-m", f"headrace.apps.{app}"], cwd=folder, env=environment)
            stack.callback(process.wait)
            stack.callback(process.terminate)
        address = f"http://127.0.0.1:{port}"
        wait_answer(address)
        yield address


def wait_answer(address: str) -> None:
    """Wait until a whole answer comes back."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.post(f"{address}/v1/chat/completions", content=BODY, timeout=START_SECONDS).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit(f"no answer from {address}")


def settings_for(folder: Path) -> dict[str, str]:
    """Settings of both sides."""
    script = folder / "script.toml"
    script.write_text(SCRIPT)
    return {
        "HEADRACE_ENGINE_KIND": "scripted",
        "HEADRACE_ENGINE_SCRIPT": str(script),
        "HEADRACE_MODELS_SMOLLM2_135M_INSTRUCT_SLOTS": "256",
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="just bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (default: 5)")
    parser.add_argument("--queue-type", choices=get_args(QueueType), default="classic", help="of the task queues")
    arguments = parser.parse_args()
    rounds: int = arguments.rounds
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        quiet = settings_for(folder) | {"HEADRACE_LOG_LEVEL": "error"}
        sides = {
            "memory": stack.enter_context(serving(folder=folder, environment=quiet)).address,
            "rabbitmq": stack.enter_context(processes_over_rabbitmq(folder, arguments.queue_type)),
        }
        sys.stdout.write(
            "| clients | memory p50 / p99 ms | rabbitmq p50 / p99 ms | added p50 ms |\n|---|---|---|---|\n"
        )
        for clients, requests in ((1, 100), (64, 5)):
            found: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(rounds):
                for side, address in sides.items():
                    found[side] += asyncio.run(measure(address, clients=clients, requests=requests))
            sys.stdout.write(render_row(clients, found["memory"], found["rabbitmq"]))


def render_row(clients: int, memory: list[float], rabbitmq: list[float]) -> str:
    """Return one line of the table."""

    def show(values: list[float]) -> str:
        return f"{statistics.median(values):.2f} / {statistics.quantiles(values, n=100)[98]:.2f}"

    added = statistics.median(rabbitmq) - statistics.median(memory)
    return f"| {clients} | {show(memory)} | {show(rabbitmq)} | {added:.2f} |\n"


if __name__ == "__main__":
    main()
