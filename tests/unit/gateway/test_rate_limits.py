"""A client is told where it stands, in its vendor's headers, with answers of both kinds and with refusals."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest
from dirty_equals import IsPartialDict, IsStr
from msgspec import structs

from headrace.accounts.limits import CallerLimits, KeyLimits
from headrace.gateway.app import GatewayParts, create_app
from headrace.gateway.rate_limits import anthropic_headers, openai_headers, show_duration, show_instant
from headrace.scheduler.base import Adoption, Generation, Submission
from headrace.schema.caller import Caller, RateLimits
from headrace.schema.events import GenerationFailed
from headrace.schema.settings import GatewaySettings
from tests.support.metering import Meter
from tests.unit.gateway.doubles import CHAT, HELLO, MODELS, ScriptedSource, open_client

LIMITS = CallerLimits(
    key=KeyLimits(requests_per_minute=2, tokens_per_minute=5000, concurrent_generations=9), tenant=KeyLimits()
)
MESSAGES: dict[str, Any] = {"model": "demo", "max_tokens": 20, "messages": CHAT["messages"]}
RESPONSES: dict[str, Any] = {"model": "demo", "input": "Hello"}
OPENAI = {"x-ratelimit-limit-requests": "2", "x-ratelimit-limit-tokens": "5000"}
ANTHROPIC = {"anthropic-ratelimit-requests-limit": "2", "anthropic-ratelimit-tokens-limit": "5000"}
PATHS = [
    pytest.param("/v1/chat/completions", CHAT, OPENAI, id="openai"),
    pytest.param("/v1/responses", RESPONSES, OPENAI, id="responses"),
    pytest.param("/v1/generations", CHAT, OPENAI, id="native"),
    pytest.param("/v1/messages", MESSAGES, ANTHROPIC, id="anthropic"),
]


class OneCaller:
    """Hands every submission on as that of one caller."""

    def __init__(self, meter: Meter) -> None:
        self._source = meter.source

    async def submit(self, submission: Submission) -> Generation:
        return await self._source.submit(structs.replace(submission, caller=Caller(tenant_id="t", key_id="k")))

    async def adopt(self, adoption: Adoption) -> Generation:
        return await self._source.adopt(adoption)

    def cancel(self, request_id: str) -> bool:
        return self._source.cancel(request_id)

    async def check(self) -> None:
        await self._source.check()


async def open_limited(source: ScriptedSource, folder: Path, limits: CallerLimits) -> AsyncGenerator[httpx.AsyncClient]:
    async with Meter(source, folder, limits=limits).running() as meter:
        parts = GatewayParts(
            source=OneCaller(meter), models=MODELS, settings=GatewaySettings(), version="1", max_timeout_seconds=100.0
        )
        async with open_client(create_app(parts)) as client:
            yield client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncGenerator[httpx.AsyncClient]:
    async for client in open_limited(ScriptedSource(*HELLO), tmp_path, LIMITS):
        yield client


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "body", "headers"), PATHS)
async def test_answers(
    client: httpx.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str], stream: bool
) -> None:
    answer = await client.post(path, json=body | {"stream": stream})
    assert answer.status_code == 200
    told = {name: value for name, value in answer.headers.multi_items() if "ratelimit" in name}
    assert len(told) == 6
    assert told == IsPartialDict(headers)
    assert "gen_" in answer.headers["headrace-request-id"]


@pytest.mark.parametrize(("path", "body", "headers"), PATHS)
async def test_refusals(client: httpx.AsyncClient, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
    for _ in range(2):
        assert (await client.post(path, json=body)).status_code == 200
    answer = await client.post(path, json=body)
    assert answer.status_code == 429
    assert 55 <= int(answer.headers["retry-after"]) <= 65
    assert "x-should-retry" not in answer.headers
    assert dict(answer.headers) == IsPartialDict(headers)
    remaining = [
        value for name, value in answer.headers.items() if "remaining-requests" in name or "requests-remaining" in name
    ]
    assert remaining == ["0"]
    assert answer.json()["error"] == IsPartialDict(message=IsStr(regex=".*2 requests a minute.*"))


async def test_a_failure_before_the_first_frame_tells_it_too(tmp_path: Path) -> None:
    failed = GenerationFailed("worker_lost", "gone", "decode", retryable=True)
    async for client in open_limited(ScriptedSource((failed,)), tmp_path, LIMITS):
        answer = await client.post("/v1/chat/completions", json=CHAT)
        assert answer.status_code == 503
        assert answer.headers["x-ratelimit-remaining-requests"] == "1"


@pytest.mark.parametrize(("tokens", "retries"), [(95, True), (2000, False)])
async def test_tokens_of_a_minute(tmp_path: Path, tokens: int, retries: bool) -> None:
    limits = CallerLimits(key=KeyLimits(tokens_per_minute=110))
    async for client in open_limited(ScriptedSource(*HELLO), tmp_path, limits):
        assert (await client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 60})).status_code == 200
        answer = await client.post("/v1/chat/completions", json=CHAT | {"max_tokens": tokens})
        assert answer.status_code == 429
        assert answer.json()["error"] == IsPartialDict(type="tokens", code="rate_limit_exceeded")
        assert answer.headers.get("x-should-retry") == (None if retries else "false")


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [("/v1/chat/completions", CHAT, "insufficient_quota"), ("/v1/messages", MESSAGES, "rate_limit_error")],
)
async def test_a_budget_that_is_spent(tmp_path: Path, path: str, body: dict[str, Any], kind: str) -> None:
    # The script uses twelve tokens each time.
    limits = CallerLimits(tenant=KeyLimits(tokens_per_month=110))
    async for client in open_limited(ScriptedSource(*HELLO), tmp_path, limits):
        body = body | {"max_tokens": 60}
        codes = [(await client.post(path, json=body)).status_code for _ in range(3)]
        assert codes == [200, 200, 200]
        answer = await client.post(path, json=body | {"max_tokens": 95})
        assert answer.status_code == 429
        assert answer.json()["error"]["type"] == kind
        assert answer.headers["x-should-retry"] == "false"
        assert int(answer.headers["retry-after"]) >= 1


async def test_what_no_time_helps_says_no_time(tmp_path: Path) -> None:
    limits = CallerLimits(key=KeyLimits(tokens_per_minute=50))
    async for client in open_limited(ScriptedSource(*HELLO), tmp_path, limits):
        answer = await client.post("/v1/chat/completions", json=CHAT | {"max_tokens": 60})
        assert answer.status_code == 429
        assert answer.json()["error"] == IsPartialDict(type="tokens", param="max_tokens")
        assert "retry-after" not in answer.headers
        assert answer.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.12, "120ms"), (1, "1s"), (1.2, "2s"), (59.5, "1m0s"), (360, "6m0s"), (3700, "1h1m40s")],
)
def test_durations(seconds: float, text: str) -> None:
    assert show_duration(seconds) == text


def test_instants() -> None:
    assert show_instant(1_761_955_199.5) == "2025-11-01T00:00:00Z"


def test_a_limit_that_there_is_none_of_has_no_headers() -> None:
    limits = RateLimits(limit_tokens=10, remaining_tokens=3, reset_tokens_seconds=6)
    assert openai_headers(limits) == {
        "X-RateLimit-Limit-Tokens": "10",
        "X-RateLimit-Remaining-Tokens": "3",
        "X-RateLimit-Reset-Tokens": "6s",
    }
    assert anthropic_headers(limits, now=0) == {
        "Anthropic-RateLimit-Tokens-Limit": "10",
        "Anthropic-RateLimit-Tokens-Remaining": "3",
        "Anthropic-RateLimit-Tokens-Reset": "1970-01-01T00:00:06Z",
    }
    assert openai_headers(RateLimits()) == anthropic_headers(RateLimits(), now=0) == {}
