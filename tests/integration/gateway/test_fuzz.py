"""No body makes the gateway fail: whatever comes, the answer is JSON in the shape of the dialect, and never a 5xx.

Bodies that every route accepts are broken in one or more places: other types, other numbers, other texts, keys twice,
nests too deep, bytes that are no JSON. After each, an ordinary call is answered as if nothing had happened.
"""

from collections.abc import Generator
from random import Random
from typing import Any, cast

import httpx
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.bodies import BODIES, EMBEDDING_BODIES, Body, list_bodies
from tests.support.mutations import break_bytes, mutate, nest
from tests.support.scripted_serving import CHAT_MODEL, EMBEDDING_MODEL, scripted_serving
from tests.support.serving import Serving

EXAMPLES = 60
JSON = "application/json"
MEDIA_TYPES = [
    "",
    "text/plain",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/json; charset=utf-16",
]

pytestmark = pytest.mark.timeout(180)
fuzzing = settings(
    max_examples=EXAMPLES, database=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Fuzzed:
    """A running server, and what it says to anything."""

    def __init__(self, server: Serving, http: httpx.Client) -> None:
        self._server = server
        self._http = http

    def post(self, path: str, content: bytes, *, media_type: str = JSON) -> int:
        """Send anything, check what comes back, and return its status."""
        answer = self._http.post(path, content=content, headers={"Content-Type": media_type} if media_type else {})
        assert answer.status_code < 500, (answer.status_code, answer.text[:500])
        if answer.status_code == 200:
            _check_answer(answer)
        else:
            _check_failure(path, answer)
        return answer.status_code

    def check_alive(self, path: str, body: Body) -> None:
        """Check that the next call is answered as if nothing had happened."""
        assert self.post(path, msgspec.json.encode(body)) == 200
        assert "unexpected failure" not in self._server.text


def _check_answer(answer: httpx.Response) -> None:
    if answer.headers["content-type"].startswith(JSON):
        assert isinstance(answer.json(), dict)
    else:
        last = [line for line in answer.text.splitlines() if line.startswith("data: ")][-1].removeprefix("data: ")
        assert last == "[DONE]" or isinstance(msgspec.json.decode(last), dict)


def _check_failure(path: str, answer: httpx.Response) -> None:
    assert answer.headers["content-type"] == JSON
    body: dict[str, Any] = msgspec.json.decode(answer.content)
    error = body["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    if path.startswith("/v1/messages"):
        assert body.keys() == {"type", "error", "request_id"}
        assert error.keys() == {"type", "message"}
    elif path.startswith("/v1/generations"):
        assert error.keys() == {"code", "message", "param", "retryable"}
    else:
        assert error.keys() == {"message", "type", "param", "code"}


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Generator[Fuzzed]:
    with (
        scripted_serving(tmp_path_factory.mktemp("chat")) as server,
        httpx.Client(base_url=server.address, timeout=60) as http,
    ):
        yield Fuzzed(server, http)


@pytest.fixture(scope="module")
def embedding(tmp_path_factory: pytest.TempPathFactory) -> Generator[Fuzzed]:
    with (
        scripted_serving(tmp_path_factory.mktemp("embedding"), model=EMBEDDING_MODEL) as server,
        httpx.Client(base_url=server.address, timeout=60) as http,
    ):
        yield Fuzzed(server, http)


def _name(value: object) -> str:
    """Name a case by its route and its fields."""
    match value:
        case str():
            return value
        case _:
            return ",".join(sorted(cast("Body", value)))[:60]


on_chat = pytest.mark.parametrize(("path", "body"), list_bodies(BODIES, model=CHAT_MODEL), ids=_name)
on_embedding = pytest.mark.parametrize(
    ("path", "body"), list_bodies(EMBEDDING_BODIES, model=EMBEDDING_MODEL), ids=_name
)


@on_chat
def test_the_bodies_are_accepted_as_they_are(chat: Fuzzed, path: str, body: Body) -> None:
    assert chat.post(path, msgspec.json.encode(body)) == 200


@on_embedding
def test_the_bodies_of_embeddings_are_accepted_as_they_are(embedding: Fuzzed, path: str, body: Body) -> None:
    assert embedding.post(path, msgspec.json.encode(body)) == 200


@on_chat
@fuzzing
@given(luck=st.randoms(use_true_random=False), times=st.integers(1, 4))
def test_a_mutated_body(chat: Fuzzed, path: str, body: Body, luck: Random, times: int) -> None:
    chat.post(path, mutate(body, luck, times=times))
    chat.check_alive(path, body)


@on_embedding
@fuzzing
@given(luck=st.randoms(use_true_random=False), times=st.integers(1, 4))
def test_a_mutated_body_of_embeddings(embedding: Fuzzed, path: str, body: Body, luck: Random, times: int) -> None:
    embedding.post(path, mutate(body, luck, times=times))
    embedding.check_alive(path, body)


@on_chat
@fuzzing
@given(luck=st.randoms(use_true_random=False))
def test_a_damaged_body(chat: Fuzzed, path: str, body: Body, luck: Random) -> None:
    chat.post(path, break_bytes(msgspec.json.encode(body), luck))
    chat.check_alive(path, body)


@pytest.mark.parametrize("depth", [10, 100, 1_000, 100_000])
@pytest.mark.parametrize("path", BODIES)
def test_a_nest(chat: Fuzzed, path: str, depth: int) -> None:
    for content in (nest("1", depth=depth), '{"a":' * depth + "1" + "}" * depth, "[" * depth):
        assert chat.post(path, content.encode()) == 400
    for name in BODIES[path][-1]:
        body = msgspec.json.encode({"model": CHAT_MODEL, **BODIES[path][-1], name: "here"}).decode()
        chat.post(path, body.replace('"here"', nest("{}", depth=depth)).encode())
    chat.check_alive(path, {"model": CHAT_MODEL, **BODIES[path][0]})


@pytest.mark.parametrize("media_type", MEDIA_TYPES)
@pytest.mark.parametrize("path", BODIES)
def test_a_media_type(chat: Fuzzed, path: str, media_type: str) -> None:
    content = msgspec.json.encode({"model": CHAT_MODEL, **BODIES[path][0]})
    is_json = not media_type or media_type.startswith(JSON)
    assert chat.post(path, content, media_type=media_type) == (200 if is_json else 415)
