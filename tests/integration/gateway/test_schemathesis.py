# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""The description of our API is true: schemathesis calls a running server by it, and holds the answers to it.

The calls are the same in every run; `--hypothesis-seed=N` makes others. What is not checked is whether every body that
fits the description is accepted: a JSON Schema can't tell that a conversation must have some text in it. Most
bodies are brought nearer to what is accepted, so that the answers to those are seen too.
"""

from collections.abc import Generator
from random import Random
from typing import Any, cast

import httpx
import hypothesis
import jsonschema_rs
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, strategies
from schemathesis import APIOperation, Case, GenerationMode, Response
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from headrace.gateway.headers import TIMEOUT_HEADER
from headrace.gateway.openapi import describe_api
from tests.support.bodies import BODIES
from tests.support.scripted_serving import CHAT_MODEL, scripted_serving
from tests.support.serving import Serving

Operation = APIOperation[Any, Any, Any, Any]
FRAMES = "text/event-stream"
SEED = 20_260
EXAMPLES = 40
KEY = "key-of-the-schema"
AUTHORIZATION = {"Authorization": f"Bearer {KEY}"}
CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    ignored_auth,
]
PLAIN_SHARE = 0.7
STREAM_SHARE = 0.3
METHODS = {"get", "post", "put", "patch", "delete"}
OPERATIONS = sorted(
    (f"{method.upper()} {path}", mode)
    for path, operations in describe_api("0")["paths"].items()
    for method in METHODS & operations.keys()
    # Only a body can be wrong: any text is a name, and any header is a header.
    for mode in ([GenerationMode.POSITIVE, GenerationMode.NEGATIVE] if method == "post" else [GenerationMode.POSITIVE])
)

pytestmark = pytest.mark.timeout(180)


class Api:
    """A running server and its own description, narrowed to the model that it serves."""

    def __init__(self, server: Serving) -> None:
        self.address = server.address
        self.document: dict[str, Any] = httpx.get(f"{server.address}/schema/openapi.json").json()
        for schema in self.document["components"]["schemas"].values():
            narrow(schema)
        self._narrow_parameters()
        self.schema: OpenApiSchema = schemathesis.openapi.from_dict(self.document)

    def _narrow_parameters(self) -> None:
        """Ask for a response that is there or for one that is not, and for a time that is enough.

        What takes longer than it may is rightly answered with 504.
        """
        body = {"model": CHAT_MODEL, "input": "Hello"}
        made = httpx.post(f"{self.address}/v1/responses", json=body, headers=AUTHORIZATION).raise_for_status().json()
        narrow = {
            "response_id": {"enum": [made["id"], "resp_nobody"]},
            TIMEOUT_HEADER: {"type": "integer", "minimum": 30, "maximum": 3600},
        }
        for operations in self.document["paths"].values():
            for operation in operations.values():
                for parameter in operation.get("parameters", ()):
                    parameter["schema"] = narrow.get(parameter["name"], parameter["schema"])

    def find(self, label: str) -> Operation:
        found = (result.ok() for result in self.schema.get_all_operations() if isinstance(result, Ok))
        return next(operation for operation in found if operation.label == label)

    def check_frames(self, operation: Operation, response: Response) -> None:
        """Hold each frame of a stream to what the description says of them."""
        schema = _frames_of(operation)["schema"] | {"components": self.document["components"]}
        validator = jsonschema_rs.validator_for(schema)
        lines = response.content.decode().splitlines()
        frames = [line.removeprefix("data: ") for line in lines if line.startswith("data: ") and line != "data: [DONE]"]
        assert frames
        for frame in frames:
            validator.validate(msgspec.json.decode(frame))


def _frames_of(operation: Operation) -> dict[str, Any]:
    """Return what the description says of the operation's streams; empty where it has none."""
    return operation.definition.raw["responses"]["200"].get("content", {}).get(FRAMES, {})


def narrow(schema: dict[str, Any]) -> None:
    """Leave no room for a key that nobody knows, nor for a model that is not served."""
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
        if schema.get("title", "").endswith("Body") and "model" in schema["properties"]:
            schema["properties"]["model"] = {"enum": [CHAT_MODEL]}


def _make_plain(body: dict[str, Any], plain: dict[str, Any], luck: Random) -> dict[str, Any]:
    """Return an ordinary body with at most three of the fields of another."""
    others = sorted(body.keys() - plain.keys())
    kept = luck.sample(others, k=min(3, len(others)))
    return {name: _to_whole(body[name]) for name in kept} | plain | {"model": CHAT_MODEL}


def _to_whole(value: Any) -> Any:
    """Write 1.0 as 1: to JSON Schema both are integers, and to us the first is none."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case dict():
            return {key: _to_whole(item) for key, item in cast("dict[str, Any]", value).items()}
        case list():
            return [_to_whole(item) for item in cast("list[Any]", value)]
        case _:
            return value


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Generator[Api]:
    with scripted_serving(tmp_path_factory.mktemp("api"), environment={"HEADRACE_API_KEY": KEY}) as server:
        yield Api(server)


@pytest.mark.parametrize(("label", "mode"), OPERATIONS)
def test_answers_are_as_described(api: Api, label: str, mode: GenerationMode, pytestconfig: pytest.Config) -> None:
    operation = api.find(label)
    luck = strategies.randoms(use_true_random=False)
    seed = int(pytestconfig.getoption("--hypothesis-seed") or SEED)

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        database=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode), luck=luck)
    def check(case: Case[Any], luck: Random) -> None:
        hypothesis.note(f"--hypothesis-seed={seed}")
        if operation.path in BODIES and isinstance(case.body, dict) and luck.random() < PLAIN_SHARE:
            case.body = _make_plain(case.body, BODIES[operation.path][0], luck)
            if _frames_of(operation) and luck.random() < STREAM_SHARE:
                case.body["stream"] = True
        response = case.call(api.address, headers=AUTHORIZATION)
        if response.status_code == 200 and FRAMES in str(response.headers.get("content-type")):
            case.validate_response(response, checks=CHECKS)
            api.check_frames(operation, response)
        else:
            case.validate_response(response, checks=[*CHECKS, response_schema_conformance])

    check()
