"""Every failure has the shape of the API that was spoken, and nothing that a client wrote reaches the log."""

from typing import Any

import pytest
import structlog
from dirty_equals import IsPositiveFloat, IsStr

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFailed, SequenceDelta
from headrace.schema.settings import GatewaySettings, Secret
from tests.unit.gateway.doubles import CHAT, HELLO, ScriptedSource, make_app, open_client

OPENAI, NATIVE = "/v1/chat/completions", "/v1/generations"


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allow"),
    [
        ("GET", "/v1/nothing", 404, "unknown_url", None),
        ("GET", OPENAI, 405, "method_not_supported", "OPTIONS, POST"),
        ("POST", "/v1/models", 405, "method_not_supported", "GET, OPTIONS"),
        ("GET", "/v1/models/nothing", 404, "model_not_found", None),
    ],
)
async def test_errors_of_openai(method: str, path: str, status: int, code: str, allow: str | None) -> None:
    async with open_client(make_app(ScriptedSource())) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers.get("allow") == allow
    assert answer.json() == {
        "error": {
            "message": IsStr(),
            "type": "invalid_request_error",
            "param": "model" if code == "model_not_found" else None,
            "code": code,
        }
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "allow"),
    [
        ("GET", "/", 404, "not_found", None),
        ("GET", "/v2/models", 404, "not_found", None),
        ("GET", "/schema/nothing", 404, "not_found", None),
        ("GET", "/v1/generations", 405, "method_not_allowed", "OPTIONS, POST"),
        ("PUT", "/v1/generations/gen_1", 405, "method_not_allowed", "DELETE, GET, OPTIONS"),
        ("GET", "/v1/generations/gen_1", 404, "not_found", None),
        ("DELETE", "/v1/generations/gen_1", 404, "not_found", None),
        ("POST", "/livez", 405, "method_not_allowed", "GET, OPTIONS"),
    ],
)
async def test_errors_of_everything_else(method: str, path: str, status: int, code: str, allow: str | None) -> None:
    async with open_client(make_app(ScriptedSource())) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert answer.headers.get("allow") == allow
    assert answer.json() == {
        "error": {
            "code": code,
            "message": IsStr(),
            "param": "id" if path.endswith("gen_1") and status == 404 else None,
            "retryable": False,
        }
    }


@pytest.mark.parametrize("path", [OPENAI, NATIVE])
@pytest.mark.parametrize(
    ("change", "status", "param"),
    [
        ({"model": "other"}, 404, "model"),
        ({"messages": []}, 400, "messages"),
        ({"nothing": 1}, 400, "nothing"),
    ],
)
async def test_a_call_that_is_refused(path: str, change: dict[str, Any], status: int, param: str) -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        answer = await client.post(path, json=CHAT | change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert answer.headers["headrace-request-id"] == answer.headers["x-request-id"] == IsStr(regex="gen_[0-9a-f]{32}")
    assert source.submissions == []


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("Application/JSON; charset=utf-8", 200),
        ("application/vnd.api+json", 200),
        ("", 200),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
    ],
)
async def test_a_body_that_says_that_it_is_not_json_is_refused(content_type: str, status: int) -> None:
    async with open_client(make_app(ScriptedSource(*HELLO))) as client:
        request = client.build_request("POST", NATIVE, json=CHAT)
        request.headers["content-type"] = content_type
        assert (await client.send(request)).status_code == status


@pytest.mark.parametrize(
    ("code", "status", "retry_after"),
    [
        (ErrorCode.OVERLOADED, 429, "1"),
        (ErrorCode.BROKER_UNAVAILABLE, 503, "1"),
        (ErrorCode.SHUTTING_DOWN, 503, "1"),
        (ErrorCode.DEADLINE_EXCEEDED, 504, None),
        (ErrorCode.INTERNAL_ERROR, 500, None),
    ],
)
@pytest.mark.parametrize("path", [OPENAI, NATIVE])
async def test_what_the_scheduler_refuses(path: str, code: ErrorCode, status: int, retry_after: str | None) -> None:
    source = ScriptedSource()
    source.refusal = HeadraceError(code, "no")
    async with open_client(make_app(source)) as client:
        answer = await client.post(path, json=CHAT)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    assert answer.headers["headrace-request-id"] == source.submissions[0].request_id


async def test_cancelling() -> None:
    source = ScriptedSource(*HELLO)
    source.running = {"gen_1"}
    async with open_client(make_app(source)) as client:
        answer = await client.delete("/v1/generations/gen_1")
    assert (answer.status_code, answer.json()) == (200, {"id": "gen_1", "cancelled": True})


@pytest.mark.parametrize(
    ("name", "value", "fits"),
    [
        ("Headrace-Timeout-Seconds", "0.5", True),
        ("Headrace-Timeout-Seconds", "100", True),
        ("Headrace-Timeout-Seconds", "100.1", False),
        ("Headrace-Timeout-Seconds", "0", False),
        ("Headrace-Timeout-Seconds", "nan", False),
        ("Headrace-Timeout-Seconds", "inf", False),
        ("Headrace-Timeout-Seconds", "soon", False),
        ("Headrace-Priority", "0", True),
        ("Headrace-Priority", "9", True),
        ("Headrace-Priority", "10", False),
        ("Headrace-Priority", "-1", False),
        ("Headrace-Priority", "", False),
    ],
)
async def test_headers_of_a_call(name: str, value: str, fits: bool) -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        answer = await client.post(NATIVE, json=CHAT, headers={name: value})
    if fits:
        submission = source.submissions[0]
        assert {submission.timeout_seconds, submission.priority} == {None, float(value)}
    else:
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, name)


@pytest.mark.parametrize(("value", "lane"), [(None, "online"), ("online", "online"), ("batch", "batch")])
async def test_a_header_chooses_the_lane(value: str | None, lane: str) -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        await client.post(NATIVE, json=CHAT, headers={} if value is None else {"Headrace-Lane": value})
    assert source.submissions[0].lane == lane


@pytest.mark.parametrize("value", ["Batch", "offline", ""])
async def test_a_lane_that_is_none_is_refused_by_name(value: str) -> None:
    async with open_client(make_app(ScriptedSource(*HELLO))) as client:
        answer = await client.post(NATIVE, json=CHAT, headers={"Headrace-Lane": value})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Headrace-Lane")


KEY = "sk-ключ"


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        (f"Bearer {KEY}", True),
        (f"bearer  {KEY}", True),
        (f"Bearer {KEY}x", False),
        (f"Basic {KEY}", False),
        (KEY, False),
        ("Bearer ", False),
        (None, False),
    ],
)
async def test_the_key(given: str | None, fits: bool) -> None:
    app = make_app(ScriptedSource(*HELLO), settings=GatewaySettings(api_key=Secret(KEY)))
    headers: dict[bytes, bytes] = {} if given is None else {b"Authorization": given.encode()}
    async with open_client(app) as client:
        guarded = [await client.get(path, headers=headers) for path in ("/v1/models", "/metrics")]
        guarded += [await client.post(path, headers=headers, json=CHAT) for path in (OPENAI, NATIVE)]
        guarded_cancel = await client.delete("/v1/generations/x", headers=headers)
        open_to_all = [await client.get(path, headers=headers) for path in ("/livez", "/readyz", "/health", "/schema")]
    assert {answer.status_code for answer in guarded} == ({200} if fits else {401})
    assert guarded_cancel.status_code == (404 if fits else 401)
    assert {answer.status_code for answer in open_to_all} == {200}
    if not fits:
        assert {answer.headers["www-authenticate"] for answer in guarded} == {"Bearer"}
        assert guarded[0].json()["error"]["code"] == "invalid_api_key"
        assert guarded[3].json()["error"]["code"] == "unauthorized"
        assert KEY not in "".join(answer.text for answer in guarded)


async def test_the_log_has_one_line_for_a_generation() -> None:
    source = ScriptedSource(*HELLO)
    with structlog.testing.capture_logs() as lines:
        async with open_client(make_app(source)) as client:
            await client.post(OPENAI, json=CHAT | {"stream": True})
    assert lines == [
        {
            "event": "generation ended",
            "log_level": "info",
            "request_id": source.submissions[0].request_id,
            "dialect": "openai",
            "model": "demo",
            "stream": True,
            "status": 200,
            "outcome": "finished",
            "input_tokens": 5,
            "output_tokens": 7,
            "ttft_ms": IsPositiveFloat(),
            "total_ms": IsPositiveFloat(),
            "client_left": False,
            "route": "own",
            "target": "demo",
            "attempts": 1,
        }
    ]


async def test_the_log_never_quotes_a_client() -> None:
    failed = GenerationFailed("worker_lost", "a secret answer", "decode", retryable=True)
    bad: list[dict[str, Any]] = [
        CHAT | {"a secret key": "a secret prompt"},
        CHAT | {"model": "a secret model"},
        CHAT | {"messages": [{"role": "a secret role", "content": "a secret prompt"}]},
    ]
    with structlog.testing.capture_logs() as lines:
        for source in (
            ScriptedSource(*HELLO),
            ScriptedSource((SequenceDelta(0, "a secret answer"),), (failed,)),
            ScriptedSource(RuntimeError("a secret prompt")),
        ):
            async with open_client(make_app(source)) as client:
                for body in [CHAT, CHAT | {"stream": True}, *bad]:
                    await client.post(OPENAI, json=body, headers={"Authorization": "Bearer a secret key"})
                    await client.post(NATIVE, json=body)
                await client.get("/v1/a secret path")
    assert "secret" not in repr(lines)
    assert {line["event"] for line in lines} == {"generation ended", "request refused", "unexpected failure"}
    assert {line["log_level"] for line in lines if line.get("outcome") == "worker_lost"} == {"error"}
