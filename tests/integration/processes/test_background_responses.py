"""A background response outlives the gateway that made it: gateways and a worker as processes, one of them killed."""

import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from headrace.apps.cli.nodes import RabbitMqNode, RedisNode
from headrace.worker.engines.scripted.tokens import WORDS, generate_tokens
from tests.support.processes import MODEL, WAIT_SECONDS, Deployment, deployment

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]

TOKENS = 600
LONG_ANSWERS = {"".join(generate_tokens(TOKENS, start)) for start in range(len(WORDS))}
ENOUGH_EVENTS = 30
BODY = {"model": MODEL, "input": "long", "max_output_tokens": TOKENS, "background": True, "stream": True}


@pytest.fixture
def deployed(rabbitmq_node: RabbitMqNode, redis_node: RedisNode, tmp_path: Path) -> Generator[Deployment]:
    with deployment(rabbitmq_node, tmp_path, redis_url=redis_node.url) as deployed:
        yield deployed


def read_events(response: httpx.Response) -> Generator[dict[str, Any]]:
    """The events of a stream, as long as its connection lasts."""
    with suppress(httpx.TransportError):
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield msgspec.json.decode(line.removeprefix("data: "))


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")


def wait_until_ended(url: str) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        response = httpx.get(url).json()
        if response["status"] not in ("queued", "in_progress"):
            return response
        assert time.monotonic() < deadline, response["status"]
        time.sleep(0.05)


def test_a_background_stream_goes_on_at_another_gateway_when_its_own_is_killed(deployed: Deployment) -> None:
    gateway = deployed.start_gateway()
    _, other = deployed.start_another_gateway()
    deployed.start_worker()
    events: list[dict[str, Any]] = []
    with httpx.stream("POST", f"{deployed.address}/v1/responses", json=BODY, timeout=WAIT_SECONDS) as response:
        assert response.status_code == 200
        for event in read_events(response):
            events.append(event)
            if len(events) == ENOUGH_EVENTS:
                gateway.child.kill()
    url = f"{other}/v1/responses/{events[0]['response']['id']}"
    assert httpx.get(url).json()["status"] == "in_progress"
    query = {"stream": "true", "starting_after": str(events[-1]["sequence_number"])}
    with httpx.stream("GET", url, params=query, timeout=WAIT_SECONDS) as response:
        assert response.status_code == 200
        events += read_events(response)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    # Cut off where it was asked to be.
    assert events[-1]["type"] == "response.incomplete"
    assert text_of(events) in LONG_ANSWERS
    whole = wait_until_ended(url)
    assert whole["output"] == events[-1]["response"]["output"]
    assert whole["usage"]["output_tokens"] == TOKENS


def test_a_response_is_found_and_continued_at_another_gateway(deployed: Deployment) -> None:
    deployed.start_gateway()
    _, other = deployed.start_another_gateway()
    deployed.start_worker()
    body = {"model": MODEL, "input": "hi", "max_output_tokens": 5}
    made = httpx.post(f"{deployed.address}/v1/responses", json=body, timeout=WAIT_SECONDS).json()
    assert httpx.get(f"{other}/v1/responses/{made['id']}").json() == made
    further = httpx.post(
        f"{other}/v1/responses", json=body | {"previous_response_id": made["id"]}, timeout=WAIT_SECONDS
    )
    assert further.status_code == 200
    assert httpx.delete(f"{other}/v1/responses/{made['id']}").status_code == 200
    assert httpx.get(f"{deployed.address}/v1/responses/{made['id']}").status_code == 404
