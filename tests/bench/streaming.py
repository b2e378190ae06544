"""How fast streams flow, and what a token costs: the bare engine, memory and RabbitMQ, in one run.

The engine is scripted, at the pace of a real one; `engine` is that engine alone, read in this process, so that what the
others add is seen. Rounds of the three alternate. CPU is what the processes of a side have used, requests included:
`gateway` with the scheduler, `worker` with the engine, `broker` alone; `headrace serve` is one process.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from msgspec import Struct

from headrace.schema.events import SequenceDelta
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest
from headrace.worker.engines.base import EngineJob
from headrace.worker.engines.scripted.engine import ScriptedEngine
from headrace.worker.engines.scripted.script import Rule, Script
from tests.bench.clients import Answer, ask_all, gaps_between
from tests.bench.sides import BODY, Side, memory_side, rabbitmq_side, script_settings

TOKENS = 200
STEP_SECONDS = 0.005
REQUESTS = {1: 4, 16: 3, 64: 3}


class Measured(Struct, frozen=True):
    """What one round of a side gave.

    Attributes:
        answers: of all clients.
        seconds: from the first request to the last token.
        cpu_seconds: by process.
    """

    answers: Sequence[Answer]
    seconds: float
    cpu_seconds: dict[str, float]


async def measure_side(side: Side, *, clients: int, requests: int, body: bytes = BODY) -> Measured:
    """Measure over HTTP."""
    before, started = side.cpu_seconds(), time.perf_counter()
    answers = await ask_all(side.address, body, clients=clients, requests=requests)
    seconds = time.perf_counter() - started
    return Measured(answers, seconds, {name: used - before[name] for name, used in side.cpu_seconds().items()})


async def measure_engine(engine: ScriptedEngine, *, clients: int, requests: int) -> Measured:
    """Measure the engine alone."""
    request = ChatCompletionRequest(model="m", messages=(Message("user", "Hello"),))

    async def run(client: int) -> list[Answer]:
        return [await read(f"{client}-{number}") for number in range(requests)]

    async def read(name: str) -> Answer:
        started = time.perf_counter()
        times: list[float] = []
        async for events in engine.generate(EngineJob(request_id=name, worker_id="bench", request=request, priority=5)):
            now = time.perf_counter()
            times += [now for event in events if isinstance(event, SequenceDelta)]
        return Answer(times[0] - started, gaps_between(times))

    cpu, started = time.process_time(), time.perf_counter()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(client)) for client in range(clients)]
    seconds = time.perf_counter() - started
    answers = [answer for task in tasks for answer in task.result()]
    return Measured(answers, seconds, {"engine": time.process_time() - cpu})


def render_row(name: str, clients: int, rounds: Sequence[Measured], *, tokens: int) -> str:
    """Return one line of the table."""
    answers = [answer for measured in rounds for answer in measured.answers]
    gaps = [gap * 1000 for answer in answers for gap in answer.gaps_seconds]
    first = statistics.median([answer.first_seconds for answer in answers]) * 1000
    latency = "" if len(gaps) < 2 else f"{statistics.median(gaps):.2f} / {statistics.quantiles(gaps, n=100)[98]:.2f}"
    speed = statistics.median([len(measured.answers) * tokens / measured.seconds for measured in rounds])
    costs = ", ".join(
        f"{process} {statistics.median([m.cpu_seconds[process] / len(m.answers) / tokens for m in rounds]) * 1e6:.1f}"
        for process in rounds[0].cpu_seconds
    )
    return f"| {clients} | {name} | {speed:.0f} | {speed / clients:.1f} | {latency} | {first:.2f} | {costs} |\n"


async def run(rounds: int, *, step_seconds: float, tokens: int, only: str) -> None:
    """Measure and print a table."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        settings = script_settings(folder, step_seconds=step_seconds, tokens=tokens)
        sides: dict[str, Side] = {}
        if "memory" in only:
            sides["memory"] = stack.enter_context(memory_side(folder, settings))
        if "rabbitmq" in only:
            sides["rabbitmq"] = stack.enter_context(rabbitmq_side(folder, settings))
        script = Script(step_seconds=step_seconds, rules=(Rule(when="", tokens=tokens),))
        engine = ScriptedEngine(script, slots=256, max_model_tokens=8192)
        sys.stdout.write(
            "| clients | side | tokens/s | of each stream | between tokens p50 / p99 ms | first token ms "
            "| CPU µs a token |\n|---|---|---|---|---|---|---|\n"
        )
        for clients, requests in REQUESTS.items():
            found: dict[str, list[Measured]] = {"engine": [], **{side: [] for side in sides}}
            for _ in range(rounds):
                found["engine"].append(await measure_engine(engine, clients=clients, requests=requests))
                for side, where in sides.items():
                    found[side].append(await measure_side(where, clients=clients, requests=requests))
            for side, measured in found.items():
                sys.stdout.write(render_row(side, clients, measured, tokens=tokens))
                sys.stdout.flush()
        await engine.close()


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="just bench-streams", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each side (default: 3)")
    parser.add_argument("--step", type=float, default=STEP_SECONDS, help="seconds a token; 0 floods (default: 0.005)")
    parser.add_argument("--tokens", type=int, default=TOKENS, help=f"tokens of each answer (default: {TOKENS})")
    parser.add_argument("--only", default="memory,rabbitmq", help="which sides (default: memory,rabbitmq)")
    arguments = parser.parse_args()
    asyncio.run(run(arguments.rounds, step_seconds=arguments.step, tokens=arguments.tokens, only=arguments.only))


if __name__ == "__main__":
    main()
