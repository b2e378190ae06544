"""Retained generations of tenants, over HTTP: each sees its own, and each generation is billed once."""

import time
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.scripted_serving import CHAT_MODEL, scripted_serving
from tests.support.serving import Serving

ADMIN = {"Authorization": "Bearer an administrators' key"}
ENVIRONMENT = {"HEADRACE_ACCOUNTS_ENABLED": "true", "HEADRACE_ACCOUNTS_ADMIN_KEY": "an administrators' key"}
SCRIPT = """
step_seconds = 0.02

[[rules]]
when = "long"
tokens = 150

[[rules]]
text = "A short answer."
"""
WAIT_SECONDS = 30
REQUEST_ID = "headrace-request-id"
REPLAYED = "idempotent-replayed"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving]:
    folder: Path = tmp_path_factory.mktemp("retained")
    with scripted_serving(folder, script=SCRIPT, environment=ENVIRONMENT) as server:
        yield server


class Tenant:
    """A tenant with one key."""

    def __init__(self, server: Serving, name: str) -> None:
        with httpx.Client(base_url=server.address, headers=ADMIN) as admin:
            assert admin.post("/admin/v1/tenants", json={"name": name}).status_code == 201
            issued = admin.post("/admin/v1/keys", json={"tenant": name, "name": "app"}).json()
        headers = {"Authorization": f"Bearer {issued['secret']}"}
        self._address, self._headers = server.address, headers

    def call(
        self, method: str, path: str, *, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Call the API with its key."""
        return httpx.request(
            method,
            f"{self._address}{path}",
            json=json,
            headers={**self._headers, **(headers or {})},
            timeout=WAIT_SECONDS,
        )

    @contextmanager
    def stream(self, body: Any, headers: Mapping[str, str]) -> Generator[httpx.Response]:
        """Begin a stream, and leave it when the block ends."""
        url = f"{self._address}/v1/chat/completions"
        with httpx.stream("POST", url, json=body, headers={**self._headers, **headers}, timeout=WAIT_SECONDS) as answer:
            yield answer

    def chat(self, text: str, **headers: str) -> httpx.Response:
        body = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 200}
        return self.call("POST", "/v1/chat/completions", json=body, headers=headers)

    def count_billed(self) -> tuple[int, int]:
        """Return how many generations are in the ledger, and their output tokens."""
        buckets = self.call("GET", "/v1/usage").json()["data"]
        results: list[dict[str, Any]] = [each for bucket in buckets for each in bucket["results"]]
        return sum(each["num_model_requests"] for each in results), sum(each["output_tokens"] for each in results)

    def wait_billed(self, count: int) -> int:
        deadline = time.monotonic() + WAIT_SECONDS
        while (billed := self.count_billed())[0] < count:
            assert time.monotonic() < deadline, billed
            time.sleep(0.05)
        assert billed[0] == count
        return billed[1]


def test_a_retained_generation_is_there_for_its_own_tenant_only(server: Serving) -> None:
    mine, other = Tenant(server, "mine"), Tenant(server, "other")
    answer = mine.chat("short", **{"Headrace-Retain": "true"})
    assert (answer.status_code, answer.headers["headrace-retained"]) == (200, "true")
    assert answer.headers["headrace-route"] == "own"
    path = f"/v1/generations/{answer.headers[REQUEST_ID]}"
    assert mine.call("GET", path).status_code == 200
    refused = [other.call("GET", path), other.call("GET", path, headers={"Accept": "text/event-stream"})]
    unknown = other.call("GET", "/v1/generations/gen_0")
    assert [each.status_code for each in refused] == [404, 404]
    # Nor does it learn that there is one.
    assert refused[0].json()["error"]["message"] == unknown.json()["error"]["message"]


def test_another_tenant_cancels_nothing_that_is_retained(server: Serving) -> None:
    mine, other = Tenant(server, "running"), Tenant(server, "meddling")
    body = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "a long one"}], "max_tokens": 200}
    headers = {"Headrace-Retain": "true"}
    with mine.stream(body | {"stream": True}, headers) as stream:
        path = f"/v1/generations/{stream.headers[REQUEST_ID]}"
    # Its client has left, and it goes on.
    assert other.call("DELETE", path).status_code == 404
    assert mine.call("DELETE", path).status_code == 200
    mine.wait_billed(1)
    assert other.count_billed() == (0, 0)


def test_an_idempotency_key_is_its_tenants_own_and_a_generation_is_billed_once(server: Serving) -> None:
    mine, other = Tenant(server, "one"), Tenant(server, "two")
    key = {"Idempotency-Key": "the-same-for-both"}
    with ThreadPoolExecutor() as pool:
        asked = [pool.submit(mine.chat, "a long one", **key) for _ in range(2)]
        answers = [each.result() for each in asked]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert len({answer.headers[REQUEST_ID] for answer in answers}) == 1
    assert sum(REPLAYED in answer.headers for answer in answers) == 1
    assert answers[0].json() == answers[1].json()
    theirs = other.chat("a long one", **key)
    assert theirs.status_code == 200
    assert REPLAYED not in theirs.headers
    assert theirs.headers[REQUEST_ID] != answers[0].headers[REQUEST_ID]
    assert mine.wait_billed(1) == answers[0].json()["usage"]["completion_tokens"]
    assert other.wait_billed(1) == theirs.json()["usage"]["completion_tokens"]
