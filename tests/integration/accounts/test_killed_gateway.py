"""A gateway with accounts, as a process: what it ended and what it ran when it was killed are both in the ledger."""

import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.scripted_serving import CHAT_MODEL, scripted_serving
from tests.support.serving import Serving

ADMIN = {"Authorization": "Bearer an administrators' key"}
ENVIRONMENT = {
    "HEADRACE_ACCOUNTS_ENABLED": "true",
    "HEADRACE_ACCOUNTS_ADMIN_KEY": "an administrators' key",
    "HEADRACE_METERING_LEASE_SECONDS": "1.5",
    "HEADRACE_METERING_NOTE_SECONDS": "0.1",
}
SCRIPT = """
step_seconds = 0.02

[[rules]]
when = "long"
tokens = 150

[[rules]]
text = "A short answer."
"""
WAIT_SECONDS = 30


def chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": CHAT_MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 200, **more}


def make_key(server: Serving) -> dict[str, str]:
    with httpx.Client(base_url=server.address, headers=ADMIN) as admin:
        limits = {"tokens_per_month": 100_000, "concurrent_generations": 1, "requests_per_minute": 100}
        assert admin.post("/admin/v1/tenants", json={"name": "acme", "limits": limits}).status_code == 201
        issued = admin.post("/admin/v1/keys", json={"tenant": "acme", "name": "app"}).json()
    return {"Authorization": f"Bearer {issued['secret']}"}


def read_results(server: Serving, key: dict[str, str]) -> dict[str, dict[str, Any]]:
    answer = httpx.get(f"{server.address}/v1/usage?group_by=outcome", headers=key)
    return {each["outcome"]: each for bucket in answer.json()["data"] for each in bucket["results"]}


def wait_results(server: Serving, key: dict[str, str], outcomes: set[str]) -> dict[str, dict[str, Any]]:
    deadline = time.monotonic() + WAIT_SECONDS
    while set(results := read_results(server, key)) != outcomes:
        assert time.monotonic() < deadline, results
        time.sleep(0.05)
    return results


@pytest.mark.timeout(120)
def test_what_a_killed_gateway_ran_is_in_the_ledger(tmp_path: Path) -> None:
    with scripted_serving(tmp_path, script=SCRIPT, environment=ENVIRONMENT) as server:
        key = make_key(server)
        answer = httpx.post(f"{server.address}/v1/chat/completions", json=chat("short"), headers=key)
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-ratelimit-limit-requests"] == "100"
        used = answer.json()["usage"]
        before = wait_results(server, key, {"finished"})
        assert before["finished"]["input_tokens"] == used["prompt_tokens"]
        assert before["finished"]["output_tokens"] == used["completion_tokens"]
        body = chat("a long one", stream=True)
        with (
            httpx.Client(base_url=server.address, headers=key, timeout=WAIT_SECONDS) as client,
            client.stream("POST", "/v1/chat/completions", json=body) as stream,
        ):
            began = time.monotonic()
            frames = 0
            # Held, because a generator that is dropped closes its connection.
            lines = stream.iter_lines()
            for line in lines:
                frames += line.startswith("data: {")
                if time.monotonic() - began > 1.0:
                    break
            # Its slot is taken.
            assert httpx.post(f"{server.address}/v1/chat/completions", json=body, headers=key).status_code == 429
            server.kill_group()
        server.wait()
    with scripted_serving(tmp_path, script=SCRIPT, environment=ENVIRONMENT) as server:
        after = wait_results(server, key, {"finished", "lost"})
        assert after["finished"] == before["finished"]
        assert after["lost"]["num_model_requests"] == 1
        assert 0 < after["lost"]["output_tokens"] <= frames + 10
        assert httpx.post(f"{server.address}/v1/chat/completions", json=chat("short"), headers=key).status_code == 200
        results = wait_results(server, key, {"finished", "lost"})
        assert results["lost"] == after["lost"]
        server.interrupt()
        assert server.wait() == 0
    assert list((tmp_path / ".headrace" / "usage").iterdir()) == []
