"""Errors, keys and models as Anthropic's clients know them."""

from typing import Any

import pytest
from anthropic.types import ModelInfo
from anthropic.types.shared import ErrorResponse
from dirty_equals import IsStr

from headrace.gateway.app import GatewayParts, create_app
from headrace.gateway.dialects.anthropic.errors import to_body
from headrace.gateway.failure import Failure, failure_of_code
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.settings import GatewaySettings, ModelSettings, Secret
from tests.unit.gateway.doubles import HELLO, ScriptedSource, make_app, open_client

VERSION = {"anthropic-version": "2023-06-01"}
BODY: dict[str, Any] = {"model": "demo", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("method", "path", "headers", "status", "kind"),
    [
        ("POST", "/v1/messages/batches", {}, 404, "not_found_error"),
        ("GET", "/v1/messages/batches/x/results", {}, 404, "not_found_error"),
        ("GET", "/v1/messages", {}, 405, "invalid_request_error"),
        ("GET", "/v1/nothing", VERSION, 404, "not_found_error"),
        ("GET", "/v1/models/nothing", VERSION, 404, "not_found_error"),
        ("POST", "/v1/models", VERSION, 405, "invalid_request_error"),
        ("GET", "/v1/models?limit=0", VERSION, 400, "invalid_request_error"),
        ("GET", "/v1/models?after_id=nothing", VERSION, 400, "invalid_request_error"),
        ("POST", "/v1/chat/completions", VERSION, 400, "invalid_request_error"),
    ],
)
async def test_errors_without_a_generation(
    method: str, path: str, headers: dict[str, str], status: int, kind: str
) -> None:
    async with open_client(make_app(ScriptedSource())) as client:
        answer = await client.request(method, path, headers=headers)
    assert answer.status_code == status
    assert answer.json()["type"] == "error"
    assert answer.json()["error"] == {"type": kind, "message": IsStr()}


@pytest.mark.parametrize("path", ["/v1/models/nothing", "/v1/nothing"])
async def test_others_get_the_shape_that_they_know(path: str) -> None:
    async with open_client(make_app(ScriptedSource())) as client:
        assert "type" not in (await client.get(path)).json()
        assert (await client.get("/v2/nothing", headers=VERSION)).json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    ("code", "status", "kind", "retry_after"),
    [
        (ErrorCode.OVERLOADED, 429, "rate_limit_error", "1"),
        (ErrorCode.BROKER_UNAVAILABLE, 529, "overloaded_error", "1"),
        (ErrorCode.SHUTTING_DOWN, 529, "overloaded_error", "1"),
        (ErrorCode.DEADLINE_EXCEEDED, 504, "timeout_error", None),
        (ErrorCode.INTERNAL_ERROR, 500, "api_error", None),
        (ErrorCode.STREAM_BROKEN, 502, "api_error", None),
        (ErrorCode.CONFLICT, 409, "conflict_error", None),
        (ErrorCode.PAYLOAD_TOO_LARGE, 413, "request_too_large", None),
        (ErrorCode.CONTEXT_LENGTH_EXCEEDED, 400, "invalid_request_error", None),
    ],
)
async def test_what_the_scheduler_refuses(code: ErrorCode, status: int, kind: str, retry_after: str | None) -> None:
    source = ScriptedSource()
    source.refusal = HeadraceError(code, "no")
    async with open_client(make_app(source)) as client:
        answer = await client.post("/v1/messages", json=BODY)
    assert (answer.status_code, answer.headers.get("retry-after")) == (status, retry_after)
    request_id = source.submissions[0].request_id
    assert answer.json() == {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": request_id}
    assert answer.headers["request-id"] == request_id
    if kind not in ("conflict_error", "request_too_large"):  # which the SDK's types leave out
        ErrorResponse.model_validate(answer.json())


@pytest.mark.parametrize(
    ("param", "message", "expected"),
    [
        ("generation_parameters.max_tokens", "too many", "max_tokens: too many"),
        ("generation_parameters.max_tokens", "max_tokens asks for more", "max_tokens asks for more"),
        ("generation_parameters.stop[1]", "no", "stop_sequences[1]: no"),
        ("response_format.schema", "no", "output_config.format.schema: no"),
        ("tools[3].parameters", "no", "tools[3].input_schema: no"),
        ("tool_choice.names[0]", "no", "tool_choice.name: no"),
        ("messages[7].content[1]", "no images", "messages: no images"),
        ("Headrace-Priority", "no", "Headrace-Priority: no"),
        (None, "no", "no"),
        ("generation_parameters.provider_extensions.vllm", "not known", IsStr(regex="messages: .* can't continue .*")),
    ],
)
def test_what_an_engine_refuses_is_named_as_the_client_wrote_it(param: str | None, message: str, expected: str) -> None:
    failure = failure_of_code(ErrorCode.INVALID_REQUEST, message, param=param)
    assert to_body(failure, request_id=None).error.message == expected


def test_what_the_dialect_refuses_keeps_its_place() -> None:
    failure = Failure(
        code="invalid_request", message="no", retryable=False, param="messages[7].content[1]", reason="invalid_value"
    )
    assert to_body(failure, request_id=None).error.message == "messages[7].content[1]: no"


@pytest.mark.parametrize(
    ("headers", "fits"),
    [
        ([("x-api-key", "sk-right")], True),
        ([("x-api-key", " sk-right ")], True),
        ([("authorization", "Bearer sk-right")], True),
        ([("authorization", "Bearer sk-right"), ("x-api-key", "sk-right")], True),
        ([("authorization", "Bearer sk-other"), ("x-api-key", "sk-right")], True),
        ([("authorization", "Bearer sk-other"), ("x-api-key", "sk-wrong")], False),
        ([("x-api-key", "sk-right"), ("x-api-key", "sk-right")], False),
        ([("x-api-key", "sk-righ")], False),
        ([("x-api-key", "")], False),
        ([("x-api-key", "Bearer sk-right")], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
async def test_the_key(path: str, headers: list[tuple[str, str]], fits: bool) -> None:
    app = make_app(ScriptedSource(*HELLO), settings=GatewaySettings(api_key=Secret("sk-right")))
    body = {name: value for name, value in BODY.items() if name != "max_tokens" or path == "/v1/messages"}
    async with open_client(app) as client:
        answer = await client.post(path, json=body, headers=headers)
    assert answer.status_code == (200 if fits else 401)
    if not fits:
        assert answer.json()["error"]["type"] == "authentication_error"
        assert ErrorResponse.model_validate(answer.json()).error.message.endswith("'X-Api-Key: KEY'")


async def test_models() -> None:
    async with open_client(make_app(ScriptedSource())) as client:
        answer = (await client.get("/v1/models", headers=VERSION)).json()
        one = (await client.get("/v1/models/org/large", headers=VERSION)).json()
        plain = (await client.get("/v1/models")).json()
    assert plain["object"] == "list"
    assert {name: answer[name] for name in ("first_id", "last_id", "has_more")} == {
        "first_id": "demo",
        "last_id": "org/large",
        "has_more": False,
    }
    assert one == answer["data"][1]
    info = ModelInfo.model_validate(one)
    assert (info.id, info.display_name, info.max_input_tokens) == ("org/large", "org/large", 2048)
    assert info.created_at.timestamp() == 1700000001
    assert set(one) == set(ModelInfo.model_fields)


@pytest.mark.parametrize(
    ("query", "ids", "has_more"),
    [
        ("", "abcde", False),
        ("limit=2", "ab", True),
        ("limit=2&after_id=b", "cd", True),
        ("limit=2&after_id=c", "de", False),
        ("after_id=e", "", False),
        ("limit=2&before_id=d", "bc", True),
        ("limit=9&before_id=c", "ab", False),
        ("lifecycle[]=active&lifecycle[]=retired", "abcde", False),
        ("lifecycle[]=retired", "", False),
    ],
)
async def test_pages_of_models(query: str, ids: str, has_more: bool) -> None:
    models = {name: ModelSettings(weights="tiny:random") for name in "abcde"}
    app = create_app(GatewayParts(source=ScriptedSource(), models=models, settings=GatewaySettings(), version="1"))
    async with open_client(app) as client:
        page = (await client.get(f"/v1/models?{query}", headers=VERSION)).json()
    assert ("".join(model["id"] for model in page["data"]), page["has_more"]) == (ids, has_more)
    assert (page["first_id"], page["last_id"]) == ((ids[0], ids[-1]) if ids else (None, None))
