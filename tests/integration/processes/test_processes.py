"""`headrace-gateway` and `headrace-worker` over a real broker, while things break."""

import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from pathlib import Path

import httpx
import msgspec
import pytest

from headrace.apps.cli.nodes import RabbitMqNode, RunningNode, running_rabbitmq
from headrace.schema.settings.services import QueueType
from headrace.worker.engines.scripted.tokens import WORDS, generate_tokens
from tests.support.processes import WAIT_SECONDS, Deployment, body_for, deployment, wait_for
from tests.support.serving import clean_environment

# What the script answers to "long" within the model's context, from whichever word it begins with.
LONG_ANSWERS = {"".join(generate_tokens(2047, start)) for start in range(len(WORDS))}

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


@pytest.fixture
def deployed(rabbitmq_node: RabbitMqNode, tmp_path: Path, queue_type: QueueType) -> Generator[Deployment]:
    with deployment(rabbitmq_node, tmp_path, queue_type=queue_type) as deployed:
        yield deployed


@pytest.fixture
def own_node(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[RabbitMqNode, RunningNode]]:
    """A broker that a test may stop."""
    with running_rabbitmq(tmp_path_factory.mktemp("rabbitmq-own")) as node:
        yield node


class _Stream(threading.Thread):
    """Reads one stream in the background; `text_seen` is set with the first delta."""

    def __init__(self, address: str, text: str) -> None:
        super().__init__(daemon=True)
        self.begun, self.text_seen = threading.Event(), threading.Event()
        self.received = ""
        self._address, self._text = address, text
        self.start()

    def run(self) -> None:
        url = f"{self._address}/v1/chat/completions"
        with httpx.stream("POST", url, json=body_for(self._text, stream=True), timeout=WAIT_SECONDS) as response:
            self.begun.set()
            for text in response.iter_text():
                self.received += text
                if '"delta":{"content":"' in self.received:
                    self.text_seen.set()

    def finish(self) -> str:
        self.join(WAIT_SECONDS)
        assert not self.is_alive()
        return self.received


def text_in(received: str) -> str:
    """The text of a stream of chat completions."""
    frames = [
        msgspec.json.decode(line.removeprefix("data: ")) for line in received.splitlines() if line.startswith("data: {")
    ]
    return "".join(choice["delta"].get("content") or "" for frame in frames for choice in frame["choices"])


def test_a_request_waits_for_a_worker_and_is_answered(deployed: Deployment) -> None:
    deployed.start_gateway()
    wait_for(deployed.is_ready, "the gateway is ready")
    stream = _Stream(deployed.address, "Hello")
    assert stream.begun.wait(WAIT_SECONDS)
    deployed.start_worker()
    assert stream.finish().endswith("data: [DONE]\n\n")


def test_a_broker_that_is_absent_and_comes_and_goes_and_comes(
    own_node: tuple[RabbitMqNode, RunningNode], tmp_path: Path, queue_type: QueueType
) -> None:
    node, process = own_node
    process.stop()
    with deployment(node, tmp_path, queue_type=queue_type) as deployed:
        gateway = deployed.start_gateway()
        worker = deployed.start("worker")
        unready = httpx.get(f"{deployed.address}/readyz")
        assert unready.status_code == 503
        assert "RabbitMQ" in unready.text
        refused = deployed.ask()
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "broker_unavailable"
        assert refused.headers["retry-after"]

        process.start()
        wait_for(deployed.is_ready, "the gateway found the broker")
        wait_for(lambda: worker.has_logged("worker ready"), "the worker found the broker")
        assert deployed.ask().status_code == 200

        stream = _Stream(deployed.address, "long")
        assert stream.text_seen.wait(WAIT_SECONDS)
        process.kill()
        wait_for(lambda: not deployed.is_ready(), "the gateway saw the broker go")
        waiting = _Stream(deployed.address, "Hello")

        process.start()
        wait_for(deployed.is_ready, "the gateway found the broker again")
        assert text_in(stream.finish()) in LONG_ANSWERS
        assert text_in(waiting.finish()) == "Hello from the queue."
        for started in (gateway, worker):
            assert started.child.poll() is None


def test_a_worker_that_is_killed_before_any_text_is_replaced_and_nothing_is_lost(deployed: Deployment) -> None:
    deployed.start_gateway()
    first = deployed.start_worker()
    stream = _Stream(deployed.address, "slow start")
    assert stream.begun.wait(WAIT_SECONDS)
    first.child.kill()
    deployed.start_worker()
    received = stream.finish()
    assert received.endswith("data: [DONE]\n\n")
    assert received.count('"delta":{"content":"') == 10
    assert received.count('"role":"assistant"') == 1


def test_a_worker_that_is_killed_in_mid_answer_is_replaced_and_the_client_sees_no_seam(deployed: Deployment) -> None:
    deployed.start_gateway()
    first = deployed.start_worker()
    stream = _Stream(deployed.address, "long")
    assert stream.text_seen.wait(WAIT_SECONDS)
    deployed.start_worker()
    first.child.kill()
    received = stream.finish()
    assert received.endswith("data: [DONE]\n\n")
    assert received.count('"role":"assistant"') == 1
    assert text_in(received) in LONG_ANSWERS


def test_an_engine_that_dies_takes_its_worker_down_for_a_supervisor_to_see(deployed: Deployment) -> None:
    deployed.start_gateway()
    stream = _Stream(deployed.address, "kill the engine")
    for _ in range(3):
        assert deployed.start_worker().child.wait(WAIT_SECONDS) == 1
    deployed.start_worker()
    assert '"worker_lost"' in stream.finish()
    waiting = _Stream(deployed.address, "Hello")
    deployed.start_worker()
    assert waiting.finish().endswith("data: [DONE]\n\n")


def test_a_worker_that_is_asked_to_stop_finishes_what_it_runs(deployed: Deployment) -> None:
    deployed.start_gateway()
    first = deployed.start_worker()
    stream = _Stream(deployed.address, "long")
    assert stream.text_seen.wait(WAIT_SECONDS)
    first.child.send_signal(signal.SIGTERM)
    received = stream.finish()
    assert received.endswith("data: [DONE]\n\n")
    assert received.count('"delta":{"content":"') >= 100
    assert first.child.wait(WAIT_SECONDS) == 0


def test_a_gateway_that_is_killed_frees_the_engine(deployed: Deployment) -> None:
    gateway = deployed.start_gateway()
    worker = deployed.start_worker()
    url = f"{deployed.address}/v1/chat/completions"
    with httpx.stream("POST", url, json=body_for("long", stream=True), timeout=WAIT_SECONDS) as response:
        chunks = response.iter_text()
        while '"delta":{"content":"' not in next(chunks):
            pass
        gateway.child.kill()
        with pytest.raises(httpx.TransportError):
            list(chunks)
    wait_for(lambda: '"outcome":"cancelled"' in worker.log.read_text(), "the worker gave up what nobody reads")


def test_no_prompt_and_no_answer_is_ever_logged(deployed: Deployment) -> None:
    gateway = deployed.start_gateway()
    worker = deployed.start_worker()
    assert deployed.ask("my secret prompt").status_code == 200
    killer = httpx.post(
        f"{deployed.address}/v1/chat/completions",
        json=body_for("kill the engine, my secret prompt"),
        headers={"Headrace-Timeout-Seconds": "2"},
        timeout=WAIT_SECONDS,
    )
    assert killer.status_code == 504
    worker.child.wait(WAIT_SECONDS)
    for process in (gateway, worker):
        log = process.log.read_text()
        assert "generation" in log
        assert "secret prompt" not in log
        assert "Hello from the queue" not in log


@pytest.mark.parametrize("app", ["gateway", "worker"])
def test_a_process_of_its_own_needs_a_real_broker(app: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", f"headrace.apps.{app}"],
        cwd=tmp_path,
        env=clean_environment({"HEADRACE_ENGINE_KIND": "scripted"}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "broker.url" in done.stderr
    assert "headrace serve" in done.stderr
    assert "Traceback" not in done.stderr
