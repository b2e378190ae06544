"""Generations that outlive their gateway: gateways and workers as processes, while some of them are killed."""

import signal
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from headrace.apps.cli.nodes import RabbitMqNode, RedisNode, RunningNode, running_redis
from headrace.schema.settings.services import QueueType
from headrace.worker.engines.scripted.tokens import WORDS, generate_tokens
from tests.integration.processes.reading import Reader, go_on
from tests.support.processes import WAIT_SECONDS, Deployment, Process, body_for, deployment, wait_for

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

TOKENS = 600
LONG_ANSWERS = {"".join(generate_tokens(TOKENS, start)) for start in range(len(WORDS))}
RETAIN = {"Headrace-Retain": "true"}
NATIVE = body_for("long", stream=True, output={"usage": True}, generation_parameters={"max_tokens": TOKENS})


@pytest.fixture
def deployed(
    rabbitmq_node: RabbitMqNode, redis_node: RedisNode, tmp_path: Path, queue_type: QueueType
) -> Generator[Deployment]:
    with deployment(rabbitmq_node, tmp_path, redis_url=redis_node.url, queue_type=queue_type) as deployed:
        yield deployed


def begin(address: str) -> Reader:
    return Reader("POST", f"{address}/v1/generations", json=NATIVE, headers=RETAIN)


def count_runs(worker: Process, outcome: str = "finished") -> int:
    lines = [line for line in worker.log.read_text().splitlines() if '"event":"generation ran"' in line]
    return sum(f'"outcome":"{outcome}"' in line for line in lines)


def assert_whole(first: Reader, rest: Reader) -> None:
    """Every token once, in order, and counted once."""
    assert rest.finish().status == 200
    assert first.text + rest.text in LONG_ANSWERS
    assert rest.events[-1]["type"] == "generation_finished", rest.events[-1]
    assert rest.events[-1]["usage"]["output_tokens"] == TOKENS
    kinds = [event["type"] for event in first.events + rest.events]
    assert (kinds.count("generation_started"), kinds.count("sequence_finished")) == (1, 1)


def test_a_gateway_that_is_killed_is_replaced_by_another_in_the_middle_of_a_stream(deployed: Deployment) -> None:
    gateway = deployed.start_gateway()
    _, other = deployed.start_another_gateway()
    worker = deployed.start_worker()
    first = begin(deployed.address)
    assert first.enough.wait(WAIT_SECONDS)
    gateway.child.kill()
    first.finish()
    assert_whole(first, go_on(other, first))
    wait_for(lambda: count_runs(worker) == 1, "the worker ran it once, to its end")


def test_the_gateway_and_the_worker_are_killed_together(deployed: Deployment) -> None:
    gateway = deployed.start_gateway()
    _, other = deployed.start_another_gateway()
    worker = deployed.start_worker()
    first = begin(deployed.address)
    assert first.enough.wait(WAIT_SECONDS)
    deployed.start_worker()
    gateway.child.kill()
    worker.child.kill()
    first.finish()
    assert_whole(first, go_on(other, first))


def test_what_still_waits_in_the_queue_when_its_gateway_dies_is_answered_by_another(deployed: Deployment) -> None:
    gateway = deployed.start_gateway()
    _, other = deployed.start_another_gateway()
    wait_for(deployed.is_ready, "the gateway is ready")
    first = begin(deployed.address)
    assert first.begun.wait(WAIT_SECONDS)
    gateway.child.kill()
    first.finish()
    rest = go_on(other, first)
    deployed.start_worker()
    assert_whole(first, rest)


def test_a_gateway_that_is_asked_to_stop_hands_its_generations_over(deployed: Deployment) -> None:
    gateway = deployed.start("gateway", HEADRACE_GATEWAY_DRAIN_SECONDS="0.1")
    wait_for(deployed.is_alive, "the gateway answers")
    _, other = deployed.start_another_gateway()
    worker = deployed.start_worker()
    first = begin(deployed.address)
    assert first.enough.wait(WAIT_SECONDS)
    gateway.child.send_signal(signal.SIGTERM)
    assert first.finish().events[-1]["error"]["code"] == "shutting_down"
    first.events = [event for event in first.events if event["type"] not in ("sequence_finished", "generation_failed")]
    assert_whole(first, go_on(other, first))
    assert gateway.child.wait(WAIT_SECONDS) == 0
    wait_for(lambda: count_runs(worker) == 1, "the worker ran it once, to its end")


def test_a_key_that_is_sent_to_two_gateways_at_once_runs_once(deployed: Deployment) -> None:
    deployed.start_gateway()
    _, other = deployed.start_another_gateway()
    worker = deployed.start_worker()
    body = body_for("Hello")

    def ask(number: int) -> httpx.Response:
        address = (deployed.address, other)[number % 2]
        headers = {"Idempotency-Key": "the-same"}
        return httpx.post(f"{address}/v1/chat/completions", json=body, headers=headers, timeout=WAIT_SECONDS)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert {answer.json()["choices"][0]["message"]["content"] for answer in answers} == {"Hello from the queue."}
    assert len({answer.headers["headrace-request-id"] for answer in answers}) == 1
    assert sum(answer.headers.get("idempotent-replayed") == "true" for answer in answers) == 19
    assert count_runs(worker) == 1
    conflict = httpx.post(
        f"{other}/v1/chat/completions", json=body_for("Hello?"), headers={"Idempotency-Key": "the-same"}
    )
    assert conflict.status_code == 409


def test_a_cancel_at_another_gateway(deployed: Deployment) -> None:
    deployed.start_gateway()
    _, other = deployed.start_another_gateway()
    worker = deployed.start_worker()
    first = begin(deployed.address)
    assert first.enough.wait(WAIT_SECONDS)
    answer = httpx.delete(f"{other}/v1/generations/{first.request_id}")
    assert answer.json() == {"id": first.request_id, "cancelled": True}
    assert first.finish().events[-1]["error"]["code"] == "cancelled"
    wait_for(lambda: count_runs(worker, "cancelled") == 1, "the worker stopped")
    state = httpx.get(f"{other}/v1/generations/{first.request_id}").json()
    assert (state["state"], state["error"]["code"]) == ("failed", "cancelled")


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[RedisNode, RunningNode]]:
    """A Redis that a test may stop."""
    with running_redis(tmp_path_factory.mktemp("redis-own")) as running:
        yield running


def test_while_redis_is_away_nothing_new_is_retained_and_what_runs_goes_on(
    rabbitmq_node: RabbitMqNode, own_redis: tuple[RedisNode, RunningNode], tmp_path: Path, queue_type: QueueType
) -> None:
    node, process = own_redis
    with deployment(rabbitmq_node, tmp_path, redis_url=node.url, queue_type=queue_type) as deployed:
        deployed.start_gateway()
        deployed.start_worker()
        first = begin(deployed.address)
        assert first.enough.wait(WAIT_SECONDS)
        process.kill()
        for headers in (RETAIN, {"Idempotency-Key": "k"}):
            refused = httpx.post(
                f"{deployed.address}/v1/generations", json=NATIVE, headers=headers, timeout=WAIT_SECONDS
            )
            assert refused.status_code == 503
            assert "Redis" in refused.json()["error"]["message"]
        assert deployed.ask().status_code == 200
        assert first.finish().text in LONG_ANSWERS
        process.start()
        wait_for(
            lambda: httpx.get(f"{deployed.address}/v1/generations/{first.request_id}").status_code == 200,
            "what ended meanwhile is kept, although Redis has lost all that it had",
        )
        state = httpx.get(f"{deployed.address}/v1/generations/{first.request_id}").json()
        assert state["sequences"][0]["text"] == first.text
