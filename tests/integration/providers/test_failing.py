"""Failures before the first event: what a vendor says, and what an ill or hostile upstream does."""

import asyncio
import gzip
from pathlib import Path
from typing import Any

import pytest

from headrace.providers.base import Fault, ProviderError
from headrace.providers.build import build_provider
from headrace.providers.http import MAX_ERROR_BYTES
from headrace.providers.sse import MAX_EVENT_BYTES
from headrace.schema.errors import ErrorCode
from headrace.schema.events import SequenceDelta
from headrace.schema.settings import ProviderSettings
from tests.support.providers import KEY, collect, failure_of, fold, make_call, provider_at
from tests.support.tls import make_authority, tls_front
from tests.support.upstream import JSON, Played, Upstream, running_upstream, stream_of, to_events, whole_of
from tests.support.values import make_request
from tests.support.vendor_streams import STREAMS, chat_chunk, chat_usage

KINDS = ["openai", "anthropic", "gemini"]
STREAM = {kind: next(s for s in STREAMS if s.kind == kind) for kind in KINDS}

REQUEST, REFUSED, UPSTREAM = Fault.REQUEST, Fault.REFUSED, Fault.UPSTREAM


async def error_of(kind: str, upstream: Upstream, **changes: Any) -> ProviderError:
    async with provider_at(kind, upstream, **changes) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider)
        assert KEY not in str(caught.value)
        assert "'up'" in caught.value.message
        return caught.value


def openai_error(message: str, **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **fields}}


def anthropic_error(type_: str, message: str = "Why") -> dict[str, Any]:
    return {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_1"}


def gemini_error(code: int, status: str, message: str = "Why", details: list[Any] | None = None) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "status": status, "details": details or []}}


@pytest.mark.parametrize(
    ("kind", "status", "body", "code", "fault"),
    [
        ("openai", 400, openai_error("Why"), ErrorCode.INVALID_REQUEST, REQUEST),
        (
            "openai",
            400,
            openai_error("This model's maximum context length is 8 tokens", code="context_length_exceeded"),
            ErrorCode.CONTEXT_LENGTH_EXCEEDED,
            REQUEST,
        ),
        # vLLM's, older and newer
        (
            "openai",
            400,
            {"object": "error", "message": "This model's maximum context length is 8", "type": "B", "code": 400},
            ErrorCode.CONTEXT_LENGTH_EXCEEDED,
            REQUEST,
        ),
        ("openai", 422, {"detail": [{"msg": "x"}]}, ErrorCode.INVALID_REQUEST, REQUEST),
        ("openai", 404, openai_error("No", code="model_not_found"), ErrorCode.MODEL_NOT_FOUND, REQUEST),
        ("openai", 413, openai_error("Large"), ErrorCode.PAYLOAD_TOO_LARGE, REQUEST),
        ("openai", 401, openai_error(f"Wrong key {KEY}", code="invalid_api_key"), ErrorCode.PROVIDER_ERROR, REFUSED),
        ("openai", 403, openai_error("No"), ErrorCode.PROVIDER_ERROR, REFUSED),
        ("openai", 402, openai_error("Pay"), ErrorCode.PROVIDER_UNAVAILABLE, REFUSED),
        ("openai", 429, openai_error("Slow"), ErrorCode.PROVIDER_UNAVAILABLE, REFUSED),
        ("openai", 429, openai_error("Pay", code="insufficient_quota"), ErrorCode.PROVIDER_UNAVAILABLE, REFUSED),
        ("openai", 500, openai_error("Oh"), ErrorCode.PROVIDER_ERROR, UPSTREAM),
        ("openai", 503, openai_error("Oh"), ErrorCode.PROVIDER_UNAVAILABLE, UPSTREAM),
        ("openai", 504, "gone", ErrorCode.PROVIDER_TIMEOUT, UPSTREAM),
        ("openai", 418, [], ErrorCode.INVALID_REQUEST, REQUEST),
        ("openai", 302, {}, ErrorCode.PROVIDER_ERROR, UPSTREAM),
        ("anthropic", 400, anthropic_error("invalid_request_error"), ErrorCode.INVALID_REQUEST, REQUEST),
        (
            "anthropic",
            400,
            anthropic_error("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            ErrorCode.CONTEXT_LENGTH_EXCEEDED,
            REQUEST,
        ),
        (
            "anthropic",
            400,
            anthropic_error("invalid_request_error", "Your credit balance is too low"),
            ErrorCode.PROVIDER_UNAVAILABLE,
            REFUSED,
        ),
        ("anthropic", 401, anthropic_error("authentication_error"), ErrorCode.PROVIDER_ERROR, REFUSED),
        ("anthropic", 402, anthropic_error("billing_error"), ErrorCode.PROVIDER_UNAVAILABLE, REFUSED),
        ("anthropic", 404, anthropic_error("not_found_error"), ErrorCode.MODEL_NOT_FOUND, REQUEST),
        ("anthropic", 413, anthropic_error("request_too_large"), ErrorCode.PAYLOAD_TOO_LARGE, REQUEST),
        ("anthropic", 429, anthropic_error("rate_limit_error"), ErrorCode.PROVIDER_UNAVAILABLE, REFUSED),
        ("anthropic", 529, anthropic_error("overloaded_error"), ErrorCode.PROVIDER_UNAVAILABLE, UPSTREAM),
        ("gemini", 400, gemini_error(400, "INVALID_ARGUMENT"), ErrorCode.INVALID_REQUEST, REQUEST),
        (
            "gemini",
            400,
            gemini_error(400, "INVALID_ARGUMENT", details=[{"reason": "API_KEY_INVALID"}]),
            ErrorCode.PROVIDER_ERROR,
            REFUSED,
        ),
        (
            "gemini",
            400,
            gemini_error(
                400, "INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed"
            ),
            ErrorCode.CONTEXT_LENGTH_EXCEEDED,
            REQUEST,
        ),
        ("gemini", 404, gemini_error(404, "NOT_FOUND"), ErrorCode.MODEL_NOT_FOUND, REQUEST),
        ("gemini", 429, [gemini_error(429, "RESOURCE_EXHAUSTED")], ErrorCode.PROVIDER_UNAVAILABLE, REFUSED),
        ("gemini", 503, gemini_error(503, "UNAVAILABLE"), ErrorCode.PROVIDER_UNAVAILABLE, UPSTREAM),
        ("gemini", 500, gemini_error(500, "INTERNAL"), ErrorCode.PROVIDER_ERROR, UPSTREAM),
    ],
)
async def test_statuses(upstream: Upstream, kind: str, status: int, body: Any, code: ErrorCode, fault: Fault) -> None:
    upstream.play(whole_of(body, status=status))
    error = await error_of(kind, upstream)
    assert (error.code, error.fault) == (code, fault)
    assert str(status) in error.message or status == 302


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0.5"}, 0.5),
        ({"Retry-After": "Mon, 01 Jan 2024 00:01:00 GMT"}, 60.0),
        ({"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": "9" * 30}, 86400.0),
        ({"Retry-After-Ms": "1500", "Retry-After": "9"}, 1.5),
        ({"X-RateLimit-Reset-Requests": "1m2.5s", "X-RateLimit-Reset-Tokens": "250ms"}, 62.5),
        ({"X-RateLimit-Reset-Requests": "1x"}, None),
        ({}, None),
    ],
)
async def test_when_to_come_back(upstream: Upstream, headers: dict[str, str], seconds: float | None) -> None:
    upstream.play(whole_of(openai_error("Slow"), status=429, headers=headers))
    assert (await error_of("openai", upstream)).retry_after_seconds == seconds


async def test_when_google_wants_us_back(upstream: Upstream) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "36.5s"}]
    upstream.play(whole_of(gemini_error(429, "RESOURCE_EXHAUSTED", details=details), status=429))
    assert (await error_of("gemini", upstream)).retry_after_seconds == 36.5


async def test_what_a_vendor_says_is_short_one_line_and_without_our_key(upstream: Upstream) -> None:
    upstream.play(whole_of(openai_error(f"Bad\x00\n{KEY} " + "x" * 5000, param="messages"), status=400))
    error = await error_of("openai", upstream)
    assert error.param == "messages"
    assert "Bad [key] xxx" in error.message
    assert len(error.message) < 600


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"{",
        b"[[[[",
        b"null",
        b"[]",
        b'{"error": 1}',
        b'{"error": {"message": []}}',
        b"[" * 50_000,
        b"\xff",
    ],
)
async def test_no_body_of_an_error_can_raise_anything_else(upstream: Upstream, kind: str, body: bytes) -> None:
    upstream.play(Played(status=500, content_type=JSON, pieces=(body,) if body else ()))
    error = await error_of(kind, upstream)
    assert (error.code, error.fault) == (ErrorCode.PROVIDER_ERROR, UPSTREAM)


async def test_a_huge_body_of_an_error_is_not_read(upstream: Upstream) -> None:
    pieces = tuple(b"x" * 65536 for _ in range(4 * MAX_ERROR_BYTES // 65536))
    upstream.play(Played(status=400, pieces=pieces, end="hang"))
    assert (await error_of("openai", upstream)).code == ErrorCode.INVALID_REQUEST
    await upstream.wait_left()


async def test_an_error_in_place_of_the_first_event(upstream: Upstream) -> None:
    upstream.play(stream_of(to_events([anthropic_error("overloaded_error")], named=True)))
    error = await error_of("anthropic", upstream)
    assert (error.code, error.fault) == (ErrorCode.PROVIDER_UNAVAILABLE, UPSTREAM)
    upstream.play(stream_of(to_events([openai_error("Slow", code=429)])))
    error = await error_of("openai", upstream)
    assert (error.code, error.fault) == (ErrorCode.PROVIDER_UNAVAILABLE, REFUSED)
    upstream.play(stream_of(to_events([{"object": "error", "message": "Oh", "code": 400}])))
    assert (await error_of("openai", upstream)).code == ErrorCode.INVALID_REQUEST
    upstream.play(stream_of(to_events([gemini_error(503, "UNAVAILABLE")])))
    assert (await error_of("gemini", upstream)).code == ErrorCode.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize(
    ("kind", "value", "code", "retryable"),
    [
        ("openai", openai_error("Oh", code=502), "provider_error", True),
        ("openai", openai_error("Long", code="context_length_exceeded"), "context_length_exceeded", False),
        ("anthropic", anthropic_error("overloaded_error"), "provider_unavailable", True),
        ("anthropic", anthropic_error("invalid_request_error"), "invalid_request", False),
        ("gemini", gemini_error(500, "INTERNAL"), "provider_error", True),
    ],
)
async def test_an_error_in_the_middle(
    upstream: Upstream, kind: str, value: dict[str, Any], code: str, retryable: bool
) -> None:
    begun = asyncio.Event()
    upstream.play(stream_of(*STREAM[kind].events[:4], begun, to_events([value])))
    async with provider_at(kind, upstream) as provider:
        failure = failure_of(await collect(provider, begun=begun))
    assert (failure.code, failure.retryable, failure.stage) == (code, retryable, "decode")
    assert (failure.usage is None) == (kind == "openai")


@pytest.mark.parametrize("reason", ["error", "insufficient_system_resource"])
async def test_a_reason_that_is_a_failure(upstream: Upstream, reason: str) -> None:
    begun = asyncio.Event()
    bad = dict(chat_chunk())
    bad["choices"] = [{"index": 0, "delta": {}, "finish_reason": reason}]
    upstream.play(stream_of(to_events([chat_chunk({"content": "a"})]), begun, to_events([bad, b"[DONE]"])))
    async with provider_at("openai", upstream) as provider:
        assert failure_of(await collect(provider, begun=begun)).code == "provider_error"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "play",
    [
        Played(content_type="text/html", pieces=(b"<html>Welcome to the hotel</html>",)),
        Played(content_type="", pieces=(b"data: {}\n\n",)),
        Played(content_type=JSON, pieces=(b"{}",)),
        Played(content_type=JSON, pieces=(b"x" * (MAX_ERROR_BYTES + 1),)),
        Played(headers={"Content-Encoding": "gzip"}, pieces=(gzip.compress(b"data: " + b"0" * 50_000_000),)),
        Played(raw=(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 9000 + b"\r\n\r\n",)),
        Played(raw=(b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 5000 + b"\r\n",)),
        Played(raw=(b"SSH-2.0-OpenSSH_9.0\r\n",)),
        Played(raw=(b"",)),
        Played(pieces=(b"data: hello\n\n",)),
        Played(pieces=(b"data: [1]\n\n",)),
        Played(pieces=(b"data: " + b"[" * 100_000 + b"\n\n",)),
        Played(pieces=(b'data: {"choices": 1, "type": 1, "candidates": 1}\n\n',)),
    ],
    ids=[
        "html", "no type", "json", "large json", "gzip", "long header", "many headers", "ssh", "nothing",
        "text", "list", "deep", "wrong types",
    ],
)  # fmt: skip
async def test_garbage(upstream: Upstream, kind: str, play: Played) -> None:
    upstream.play(play)
    error = await error_of(kind, upstream)
    assert error.fault is UPSTREAM
    assert error.code in {ErrorCode.PROVIDER_ERROR, ErrorCode.PROVIDER_UNAVAILABLE}


@pytest.mark.parametrize("kind", KINDS)
async def test_an_event_without_end(upstream: Upstream, kind: str) -> None:
    begun = asyncio.Event()
    pieces = [b"x" * 65536] * (MAX_EVENT_BYTES // 65536 + 4)
    upstream.play(stream_of(STREAM[kind].events[0], begun, b"data: ", *pieces, end="hang"))
    async with provider_at(kind, upstream) as provider:
        failure = failure_of(await collect(provider, begun=begun))
    assert failure.code == "provider_error"
    await upstream.wait_left()


async def test_a_redirect_is_not_followed(upstream: Upstream) -> None:
    async with running_upstream() as other:
        other.play(stream_of(STREAM["openai"].body))
        upstream.play(Played(status=307, headers={"Location": f"{other.url}/v1/chat/completions"}))
        error = await error_of("openai", upstream)
        assert "redirect" in error.message
        assert not other.asked


async def test_nobody_is_there() -> None:
    async with running_upstream() as upstream:
        pass
    error = await error_of("openai", upstream)
    assert (error.code, error.fault) == (ErrorCode.PROVIDER_UNAVAILABLE, UPSTREAM)
    assert "refused" in error.message


async def test_plain_http_where_tls_is_expected(upstream: Upstream) -> None:
    upstream.play(stream_of())
    error = await error_of("openai", upstream, base_url=f"https://127.0.0.1:{upstream.port}/v1", connect_seconds=0.3)
    assert (error.code, error.fault) == (ErrorCode.PROVIDER_UNAVAILABLE, UPSTREAM)


async def test_a_name_that_leads_nowhere(upstream: Upstream) -> None:
    error = await error_of("openai", upstream, base_url="https://nowhere.invalid/v1")
    assert error.code == ErrorCode.PROVIDER_UNAVAILABLE


@pytest.mark.parametrize(
    "play",
    [
        Played(raw=(b"HTTP/1.1 200 OK\r\n",), end="hang"),
        stream_of(end="hang"),
        stream_of(*[piece for _ in range(2000) for piece in (b": wait\n\n", 0.005)]),
    ],
    ids=["no headers", "no event", "comments only"],
)
async def test_the_first_piece_comes_too_late(upstream: Upstream, play: Played) -> None:
    upstream.play(play)
    error = await error_of("openai", upstream, first_token_seconds=0.1)
    assert (error.code, error.fault) == (ErrorCode.PROVIDER_TIMEOUT, UPSTREAM)
    await upstream.wait_left()


async def test_a_pause_that_is_too_long(upstream: Upstream) -> None:
    upstream.play(stream_of(*STREAM["openai"].events[:4], end="hang"))
    async with provider_at("openai", upstream, idle_seconds=0.1) as provider:
        failure = failure_of(await collect(provider))
    assert (failure.code, failure.retryable) == ("provider_timeout", True)
    await upstream.wait_left()


async def test_the_call_has_its_own_deadline(upstream: Upstream) -> None:
    upstream.play(stream_of(end="hang"))
    async with provider_at("openai", upstream) as provider:
        with pytest.raises(ProviderError) as caught:
            await collect(provider, make_call(seconds=0.1))
    assert (caught.value.code, caught.value.fault) == (ErrorCode.DEADLINE_EXCEEDED, REQUEST)
    upstream.play(stream_of(*STREAM["openai"].events[:4], end="hang"))
    async with provider_at("openai", upstream) as provider:
        failure = failure_of(await collect(provider, make_call(seconds=0.3)))
    assert (failure.code, failure.retryable) == ("deadline_exceeded", False)


async def test_more_calls_than_connections(upstream: Upstream) -> None:
    upstream.play(stream_of(*STREAM["openai"].events[:2], end="hang"))
    async with provider_at("openai", upstream, max_connections=1) as provider:
        first = provider.generate(make_call())
        await anext(first)
        with pytest.raises(ProviderError) as caught:
            await collect(provider)
        assert (caught.value.code, caught.value.fault) == (ErrorCode.PROVIDER_UNAVAILABLE, REFUSED)
        await first.aclose()
        upstream.play(stream_of(STREAM["openai"].body))
        assert fold(await collect(provider)).sequences


async def test_leaving_closes_the_connection_at_once(upstream: Upstream) -> None:
    for kind in KINDS:
        upstream.play(stream_of(*STREAM[kind].events[:3], end="hang"))
        async with provider_at(kind, upstream) as provider:
            events = provider.generate(make_call())
            await anext(events)
            left = upstream.left
            await events.aclose()
            await upstream.wait_left(left + 1)


async def test_a_reader_that_is_cancelled_closes_the_connection(upstream: Upstream) -> None:
    upstream.play(stream_of(end="hang"))
    async with provider_at("openai", upstream) as provider:
        task = asyncio.get_running_loop().create_task(collect(provider))
        await upstream.wait_asked()
        task.cancel()
        await upstream.wait_left()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_connection_is_used_again(upstream: Upstream) -> None:
    upstream.play(stream_of(STREAM["openai"].body))
    async with provider_at("openai", upstream) as provider:
        for _ in range(5):
            await collect(provider)
            await asyncio.sleep(0.01)
    assert upstream.connections <= 2


async def test_what_follows_the_end_is_passed_over(upstream: Upstream) -> None:
    upstream.play(stream_of(STREAM["openai"].body + b"data: garbage\n\n", end="hang"))
    async with provider_at("openai", upstream) as provider:
        assert fold(await collect(provider)).sequences


async def test_more_sequences_than_were_asked_for(upstream: Upstream) -> None:
    body = to_events([chat_chunk({"content": "a"}, index=1), chat_chunk(finish="stop"), chat_usage(1, 1), b"[DONE]"])
    upstream.play(stream_of(body))
    assert (await error_of("openai", upstream)).code == ErrorCode.PROVIDER_ERROR


async def test_usage_that_nobody_tells_is_zero(upstream: Upstream) -> None:
    body = to_events([chat_chunk({"content": "a"}), chat_chunk(finish="stop"), b"[DONE]"])
    upstream.play(stream_of(body))
    async with provider_at("openai", upstream) as provider:
        events = await collect(provider)
    assert fold(events).usage.output_tokens == 0
    assert [event.text for event in events if isinstance(event, SequenceDelta)] == ["a"]


@pytest.mark.parametrize("kind", KINDS)
async def test_check(upstream: Upstream, kind: str) -> None:
    async with provider_at(kind, upstream) as provider:
        upstream.play(whole_of({"data": []}))
        await provider.check()
        assert upstream.asked[-1].method == "GET"
        assert upstream.asked[-1].target.endswith("/models")
        upstream.play(whole_of({}, status=401))
        with pytest.raises(ProviderError, match="refuses our key"):
            await provider.check()
        upstream.play(whole_of({}, status=404))
        await provider.check()


async def test_tls(upstream: Upstream, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    upstream.play(stream_of(STREAM["openai"].body))
    async with tls_front(authority, upstream.port) as port:
        address = {"base_url": f"https://localhost:{port}/v1"}
        error = await error_of("openai", upstream, **address)
        assert "certificate" in error.message
        assert not upstream.asked
        async with provider_at("openai", upstream, tls_ca_file=str(authority.ca_file), **address) as provider:
            assert fold(await collect(provider)).sequences


def test_a_tls_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"providers\.p\.tls_ca_file"):
        build_provider("p", ProviderSettings(kind="openai", tls_ca_file=str(tmp_path / "none")))


async def test_a_model_can_not_become_another_path(upstream: Upstream) -> None:
    upstream.play(stream_of(STREAM["gemini"].body))
    call = make_call(make_request("../x?key=1#/%2e"))
    async with provider_at("gemini", upstream) as provider:
        await collect(provider, call)
    assert upstream.asked[0].target == "/v1beta/models/..%2Fx%3Fkey%3D1%23%2F%252e:streamGenerateContent?alt=sse"
