"""What benchmarks compare: `headrace serve`, and a gateway and a worker over a private RabbitMQ, both scripted."""

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import msgspec
import psutil
from msgspec import Struct

from headrace.apps.cli.nodes import free_ports, running_rabbitmq
from tests.support.serving import clean_environment, serving

MODEL = "smollm2-135m-instruct"
BODY = msgspec.json.encode({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "Hello"}]})
START_SECONDS = 120


class Side(Struct, frozen=True):
    """Something that answers.

    Attributes:
        address: where.
        processes: what it consists of, by what each is called.
    """

    address: str
    processes: Mapping[str, psutil.Process]

    def cpu_seconds(self) -> dict[str, float]:
        """Return what each process has used so far."""
        return {name: sum(process.cpu_times()[:2]) for name, process in self.processes.items()}


def script_settings(folder: Path, *, step_seconds: float, tokens: int, slots: int = 256) -> dict[str, str]:
    """Return settings that answer every request with so many tokens, one each step."""
    script = folder / "script.toml"
    script.write_text(f'step_seconds = {step_seconds}\n[[rules]]\nwhen = ""\ntokens = {tokens}\n')
    return {
        "HEADRACE_ENGINE_KIND": "scripted",
        "HEADRACE_ENGINE_SCRIPT": str(script),
        "HEADRACE_MODELS_SMOLLM2_135M_INSTRUCT_SLOTS": str(slots),
        "HEADRACE_LOG_LEVEL": "error",
    }


@contextmanager
def memory_side(folder: Path, settings: Mapping[str, str]) -> Generator[Side]:
    """Run `headrace serve` in a process."""
    with serving(folder=folder, environment=settings) as server:
        wait_answer(server.address)
        yield Side(server.address, {"serve": psutil.Process(server.pid)})


@contextmanager
def rabbitmq_side(folder: Path, settings: Mapping[str, str]) -> Generator[Side]:
    """Run a gateway and a worker over a private RabbitMQ."""
    with ExitStack() as stack:
        broker = stack.enter_context(broker_settings(folder))
        worker = stack.enter_context(running("worker", folder, {**settings, **broker.settings}))
        gateway, address = stack.enter_context(running_gateway(folder, {**settings, **broker.settings}))
        yield Side(address, {"gateway": gateway, "worker": worker, "broker": broker.process})


class Broker(Struct, frozen=True):
    """A private RabbitMQ.

    Attributes:
        settings: how it is reached.
        process: the machine that it runs in.
    """

    settings: Mapping[str, str]
    process: psutil.Process


@contextmanager
def broker_settings(folder: Path) -> Generator[Broker]:
    """Run a RabbitMQ."""
    with running_rabbitmq(folder / "rabbitmq") as (node, _):
        machines = [child for child in psutil.Process().children(recursive=True) if child.name() == "beam.smp"]
        settings = {
            "HEADRACE_BROKER_URL": node.url,
            "HEADRACE_BROKER_USERNAME": node.username,
            "HEADRACE_BROKER_PASSWORD": node.password,
        }
        yield Broker(settings, machines[-1])


@contextmanager
def running(app: str, folder: Path, settings: Mapping[str, str], *arguments: str) -> Generator[psutil.Process]:
    """Run a worker or a gateway."""
    command = [sys.executable, "-m", f"headrace.apps.{app}", *arguments]
    with running_process(command, folder, settings) as process:
        yield process


@contextmanager
def running_process(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Generator[psutil.Process]:
    """Run a command until the block ends."""
    process = subprocess.Popen(command, cwd=folder, env=clean_environment(environment))
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running_gateway(
    folder: Path, settings: Mapping[str, str], *, key: str = "", body: bytes = BODY
) -> Generator[tuple[psutil.Process, str]]:
    """Run a gateway until the block ends; yield it and its address once it has answered."""
    (port,) = free_ports(1)
    with running("gateway", folder, settings, "--port", str(port)) as process:
        address = f"http://127.0.0.1:{port}"
        wait_answer(address, key=key, body=body)
        yield process, address


def wait_answer(address: str, *, body: bytes = BODY, key: str = "", is_up: Callable[[], bool] = lambda: True) -> None:
    """Wait until a whole answer comes back."""
    deadline = time.monotonic() + START_SECONDS
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    said = ""
    while time.monotonic() < deadline and is_up():
        try:
            answer = httpx.post(f"{address}/v1/chat/completions", content=body, headers=headers, timeout=START_SECONDS)
        except httpx.TransportError as error:
            said = str(error)
        else:
            if answer.is_success:
                return
            said = answer.text
        time.sleep(0.1)
    raise SystemExit(f"no answer from {address}: {said}")
