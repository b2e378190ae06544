"""The production processes as children, over a RabbitMQ of the test's own."""

import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

import httpx

from headrace.apps.cli.nodes import RabbitMqNode, free_ports
from headrace.schema.settings.services import QueueType
from tests.support.serving import clean_environment

MODEL = "smollm2-135m-instruct"
WAIT_SECONDS = 40
EngineKind = Literal["scripted", "vllm"]

SCRIPT = """
step_seconds = 0.005

[[rules]]
when = "slow start"
tokens = 10
first_token_seconds = 3.0

[[rules]]
when = "long"
tokens = 4000

[[rules]]
when = "kill the engine"
tokens = 100
fault = "dead"
fault_after_tokens = 3

[[rules]]
when = ""
text = "Hello from the queue."
"""


TINY = f"""
[engine]
kind = "vllm"
cpu_threads = 1

[models.{MODEL}]
weights = "tiny:random"
slots = 16
max_model_tokens = 2048
kv_cache_bytes = 268435456
"""


def wait_for(claim: Callable[[], bool], what: str) -> None:
    """Poll until a claim is true."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not claim():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.05)


class Process:
    """One gateway or worker."""

    def __init__(self, child: subprocess.Popen[bytes], log: Path) -> None:
        self.child = child
        self.log = log

    def has_logged(self, event: str) -> bool:
        return f'"event":"{event}"' in self.log.read_text()


class Deployment:
    """Gateways and workers of one broker, with the scripted engine, or with vLLM and a tiny model of random weights."""

    def __init__(
        self,
        node: RabbitMqNode,
        folder: Path,
        stack: ExitStack,
        *,
        redis_url: str,
        engine: EngineKind,
        queue_type: QueueType,
        environment: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._stack = stack
        (folder / "script.toml").write_text(SCRIPT)
        if engine == "vllm":
            (folder / "headrace.toml").write_text(TINY)
        (self.port,) = free_ports(1)
        self.address = f"http://127.0.0.1:{self.port}"
        self._environment = clean_environment(
            {
                "HEADRACE_BROKER_URL": node.url,
                "HEADRACE_BROKER_USERNAME": node.username,
                "HEADRACE_BROKER_PASSWORD": node.password,
                "HEADRACE_BROKER_RECONNECT_SECONDS": "0.3",
                "HEADRACE_BROKER_QUEUE_TYPE": queue_type,
                "HEADRACE_REDIS_URL": redis_url,
                "HEADRACE_GATEWAY_PORT": str(self.port),
                "HEADRACE_ENGINE_KIND": engine,
                "HEADRACE_ENGINE_SCRIPT": "script.toml",
                "HEADRACE_LOG_FORMAT": "json",
                # Long before the slowest first token, so that a test can tell that a stream has begun.
                "HEADRACE_GATEWAY_HEADER_WAIT_SECONDS": "0.2",
                **environment,
            }
        )
        self._count = 0

    def start(self, app: str, **further: str) -> Process:
        self._count += 1
        log = self._folder / f"{app}-{self._count}.log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", f"headrace.apps.{app}"],
                cwd=self._folder,
                env={**self._environment, **further},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._stack.callback(child.wait)
        self._stack.callback(child.kill)
        return Process(child, log)

    def start_gateway(self, **further: str) -> Process:
        gateway = self.start("gateway", **further)
        wait_for(self.is_alive, "the gateway answers")
        return gateway

    def start_another_gateway(self, **further: str) -> tuple[Process, str]:
        """Start a further gateway; return it with its address."""
        (port,) = free_ports(1)
        address = f"http://127.0.0.1:{port}"
        gateway = self.start("gateway", HEADRACE_GATEWAY_PORT=str(port), **further)
        wait_for(lambda: is_alive(address), "the other gateway answers")
        return gateway, address

    def start_worker(self, *, consumer_priority: int = 0) -> Process:
        worker = self.start("worker", HEADRACE_WORKER_CONSUMER_PRIORITY=str(consumer_priority))
        wait_for(lambda: worker.has_logged("worker ready"), f"the worker is ready: {worker.log}")
        return worker

    def is_alive(self) -> bool:
        return is_alive(self.address)

    def is_ready(self) -> bool:
        return is_ready(self.address)

    def ask(self, text: str = "Hello") -> httpx.Response:
        return httpx.post(f"{self.address}/v1/chat/completions", json=body_for(text), timeout=WAIT_SECONDS)


def is_alive(address: str) -> bool:
    """Tell whether a gateway answers there."""
    return _says_yes(f"{address}/livez")


def is_ready(address: str) -> bool:
    """Tell whether a gateway that answers there takes requests."""
    return _says_yes(f"{address}/readyz")


def _says_yes(url: str) -> bool:
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False


def body_for(text: str, **fields: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}], **fields}


@contextmanager
def deployment(
    node: RabbitMqNode,
    folder: Path,
    *,
    redis_url: str = "",
    engine: EngineKind = "scripted",
    queue_type: QueueType = "classic",
    environment: Mapping[str, str] | None = None,
) -> Generator[Deployment]:
    with ExitStack() as stack:
        yield Deployment(
            node,
            folder,
            stack,
            redis_url=redis_url,
            engine=engine,
            queue_type=queue_type,
            environment=environment or {},
        )
