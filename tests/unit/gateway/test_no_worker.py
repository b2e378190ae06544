"""A model that nobody serves: its callers hear that, and what to start, in every dialect."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from headrace.scheduler.scheduler import Scheduler
from headrace.schema.settings import SchedulerSettings
from headrace.transport.base import QueueDepth
from tests.support.transports import RecordingSchedulerTransport
from tests.unit.gateway.doubles import CHAT, make_app, open_client

BODIES: dict[str, dict[str, Any]] = {
    "/v1/generations": CHAT,
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"model": "demo", "prompt": "Hi"},
    "/v1/responses": {"model": "demo", "input": "Hi"},
    "/v1/messages": {**CHAT, "max_tokens": 9},
    "/v1/messages/count_tokens": CHAT,
}
WHOLE_ONLY = ("/v1/messages/count_tokens",)
SAID = "no worker has taken work for 'demo' since this gateway began; start one with: HEADRACE_WORKER_MODEL=demo"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = RecordingSchedulerTransport()
    transport.depth = QueueDepth(1, 0)
    scheduler = Scheduler(transport, models={"demo": "demo"}, settings=SchedulerSettings())
    await scheduler.start()
    async with open_client(make_app(scheduler)) as client:
        client.headers["Headrace-Timeout-Seconds"] = "0.05"
        yield client
    await scheduler.close()


@pytest.mark.parametrize("path", BODIES)
async def test_a_whole_answer_says_so(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json=BODIES[path])
    assert answer.status_code == 504
    assert SAID in answer.json()["error"]["message"]


@pytest.mark.parametrize("path", [path for path in BODIES if path not in WHOLE_ONLY])
async def test_a_stream_says_so(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.post(path, json={**BODIES[path], "stream": True})
    assert SAID in answer.text
