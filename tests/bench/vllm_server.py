"""vLLM's own OpenAI server against ours, in one run: the same weights, data type, slots and threads on the CPU.

`vllm` is its server with its engine in a process of its own; `headrace` a gateway and a worker over a private RabbitMQ,
with the same engine in a process of its own. Rounds of the two alternate; ratios say more than times. CPU is that of
the processes that serve, without the engines': vLLM's server, and our gateway, worker and broker.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import psutil

from headrace.apps.cli.nodes import free_ports
from headrace.models import write_tiny_model
from tests.bench.sides import MODEL, Side, broker_settings, running, running_gateway, running_process, wait_answer
from tests.bench.streaming import Measured, measure_side

TOKENS = 64
SLOTS = 16
CONTEXT_TOKENS = 2048
KV_CACHE_BYTES = 256 * 1024 * 1024
REQUESTS = {1: 8, 8: 3}
BODY = msgspec.json.encode(
    {
        "model": MODEL,
        "stream": True,
        "temperature": 0,
        "max_tokens": TOKENS,
        "messages": [{"role": "user", "content": "Hello"}],
    }
)
# What our worker sets for itself on a CPU, so that both engines are the same.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
}


@contextmanager
def vllm_side(folder: Path, weights: Path) -> Generator[Side]:
    """Run vLLM's server."""
    (port,) = free_ports(1)
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(weights)),
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", MODEL, "--dtype", "float32"),
        *("--max-num-seqs", str(SLOTS), "--max-model-len", str(CONTEXT_TOKENS), "--block-size", "32"),
        *("--kv-cache-memory-bytes", str(KV_CACHE_BYTES), "--enforce-eager", "--disable-log-stats"),
        *("--uvicorn-log-level", "error"),
    ]
    with running_process(command, folder, ENVIRONMENT) as process:
        address = f"http://127.0.0.1:{port}"
        wait_answer(address, body=BODY, is_up=lambda: process.status() != psutil.STATUS_ZOMBIE)
        yield Side(address, {"vllm": process})


@contextmanager
def headrace_side(folder: Path, weights: Path) -> Generator[Side]:
    """Run ours."""
    (folder / "headrace.toml").write_text(
        f"""
[engine]
kind = "vllm"
cpu_threads = 1

[log]
level = "error"

[models.{MODEL}]
weights = "{weights}"
slots = {SLOTS}
max_model_tokens = {CONTEXT_TOKENS}
kv_cache_bytes = {KV_CACHE_BYTES}

[models.{MODEL}.engine_options]
dtype = "float32"
"""
    )
    with ExitStack() as stack:
        broker = stack.enter_context(broker_settings(folder))
        worker = stack.enter_context(running("worker", folder, broker.settings))
        gateway, address = stack.enter_context(running_gateway(folder, broker.settings, body=BODY))
        yield Side(address, {"gateway": gateway, "worker": worker, "broker": broker.process})


def render_row(clients: int, found: Mapping[str, Sequence[Measured]]) -> str:
    """Return one line of the table."""

    def first(measured: Measured) -> float:
        return statistics.median([answer.first_seconds for answer in measured.answers]) * 1000

    def gap(measured: Measured) -> float:
        # Of each answer as a whole: where tokens come in bursts, half of the gaps are nothing.
        return statistics.median([statistics.mean(answer.gaps_seconds) for answer in measured.answers]) * 1000

    def cpu(measured: Measured) -> float:
        return sum(measured.cpu_seconds.values()) / len(measured.answers) / TOKENS * 1e6

    cells: list[str] = []
    for value in (first, gap, cpu):
        theirs, ours = ([value(measured) for measured in found[side]] for side in ("vllm", "headrace"))
        ratio = statistics.median([mine / other for mine, other in zip(ours, theirs, strict=True)])
        cells += [f"{statistics.median(theirs):.2f} / {statistics.median(ours):.2f}", f"{ratio:.2f}"]
    return f"| {clients} | {' | '.join(cells)} |\n"


async def compare(sides: Mapping[str, Side], *, rounds: int) -> None:
    """Measure and print a table."""
    sys.stdout.write(
        "| clients | first token, vLLM / Headrace ms | ratio | a token after that ms | ratio "
        "| serving CPU µs a token | ratio |\n|---|---|---|---|---|---|---|\n"
    )
    for clients, requests in REQUESTS.items():
        found: dict[str, list[Measured]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, side in sides.items():
                found[name].append(await measure_side(side, body=BODY, clients=clients, requests=requests))
        sys.stdout.write(render_row(clients, found))
        sys.stdout.flush()


def main() -> None:
    """Run both and compare them."""
    parser = argparse.ArgumentParser(prog="just bench-vllm", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each side (default: 5)")
    rounds: int = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        weights = folder / "weights"
        weights.mkdir()
        write_tiny_model(weights)
        sides = {
            "vllm": stack.enter_context(vllm_side(folder, weights)),
            "headrace": stack.enter_context(headrace_side(folder, weights)),
        }
        asyncio.run(compare(sides, rounds=rounds))


if __name__ == "__main__":
    main()
