"""A worker whose host is cut off in mid-answer: it lives and goes on, and nobody hears it; then it is back."""

import time
from collections.abc import Callable

import httpx
import pytest

from headrace.apps.cli.nodes import RabbitMqNode, RedisNode
from headrace.worker.engines.scripted.tokens import WORDS, generate_tokens
from tests.integration.processes.reading import Reader
from tests.support.links import Link
from tests.support.processes import Deployment, Process, body_for, deployment, wait_for

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

# Longer than it takes to notice that a host is gone, which is two heartbeats or three, and to go on with its answer.
TOKENS, STEP_SECONDS = 700, 0.02
ANSWERS = {"".join(generate_tokens(TOKENS, start)) for start in range(len(WORDS))}
HEARTBEAT = {"HEADRACE_BROKER_HEARTBEAT_SECONDS": "2"}
SLOW = body_for(
    "Tell me.",
    stream=True,
    output={"usage": True, "token_ids": True},
    generation_parameters={"provider_extensions": {"scripted": {"tokens": TOKENS, "step_seconds": STEP_SECONDS}}},
)


def begin(address: str) -> Reader:
    return Reader("POST", f"{address}/v1/generations", json=SLOW)


def count_outcomes(worker: Process, *outcomes: str) -> int:
    lines = [line for line in worker.log.read_text().splitlines() if '"event":"generation ran"' in line]
    return sum(any(f'"outcome":"{outcome}"' in line for outcome in outcomes) for line in lines)


def start_behind(deployed: Deployment, link: Link) -> Process:
    settings = dict(zip(("HEADRACE_BROKER_URL", "HEADRACE_REDIS_URL"), link.urls, strict=False)) | HEARTBEAT
    worker = deployed.start("worker", **settings)
    wait_for(lambda: worker.has_logged("worker ready"), f"the worker is ready: {worker.log}")
    return worker


def check_whole(reader: Reader) -> None:
    assert reader.finish().status == 200
    assert reader.text in ANSWERS
    tokens = [token for event in reader.events for token in event.get("token_ids", ())]
    assert len(tokens) == TOKENS
    assert reader.events[-1]["type"] == "generation_finished", reader.events[-1]
    assert reader.events[-1]["usage"]["output_tokens"] == TOKENS
    kinds = [event["type"] for event in reader.events]
    assert (kinds.count("generation_started"), kinds.count("sequence_finished")) == (1, 1)


@pytest.mark.parametrize(
    "has_relay", [pytest.param(True, id="with-redis"), pytest.param(False, id="without-redis", marks=pytest.mark.long)]
)
def test_another_worker_goes_on_and_the_one_that_comes_back_does_no_harm(
    rabbitmq_node: RabbitMqNode, redis_node: RedisNode, tmp_path_factory: pytest.TempPathFactory, *, has_relay: bool
) -> None:
    redis_url = redis_node.url if has_relay else ""
    urls = [rabbitmq_node.url, *([redis_url] if has_relay else [])]
    folder = tmp_path_factory.mktemp("cut-off")
    with Link(*urls) as link, deployment(rabbitmq_node, folder, redis_url=redis_url) as deployed:
        deployed.start_gateway()
        first = start_behind(deployed, link)
        reader = begin(deployed.address)
        assert reader.enough.wait(30)
        second = deployed.start_worker()
        with link.being_cut():
            grew = grows_again(reader)
            wait_for(grew, "the other worker goes on")
            # On a machine that is slow enough it has told all of it to nobody by now.
            outcome = "superseded" if count_outcomes(first, "finished") == 0 else "finished"
        # It is told that its answer is another's now, and what it has said meanwhile is not heard.
        check_whole(reader)
        wait_for(lambda: count_outcomes(first, outcome) == 1, "the one that was cut off has stopped")
        assert count_outcomes(second, "finished") == 1
        # It takes new requests when it is the only one.
        second.child.kill()
        second.child.wait()
        answer = deployed.ask()
        assert answer.json()["choices"][0]["message"]["content"] == "Hello from the queue."
        wait_for(lambda: count_outcomes(first, "finished", "superseded") == 2, "it was the one that was cut off")
        assert first.child.poll() is None
        assert httpx.get(f"{deployed.address}/readyz").status_code == 200


def grows_again(reader: Reader) -> Callable[[], bool]:
    """Return whether the answer has stood still and then grown by some, from now on."""
    stood_still_at: list[int] = []
    last: list[tuple[float, int]] = [(time.monotonic(), 0)]

    def has_grown() -> bool:
        length = len(reader.text)
        if length != last[0][1]:
            last[0] = time.monotonic(), length
        elif time.monotonic() - last[0][0] > 1.0 and not stood_still_at:
            stood_still_at.append(length)
        return bool(stood_still_at) and length > stood_still_at[0] + 100

    return has_grown
