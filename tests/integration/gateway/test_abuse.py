"""Clients that mean harm, and what a real server makes of them: a clear no, and the others are served."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.scripted_serving import CHAT_MODEL, scripted_serving
from tests.support.serving import Serving
from tests.support.tls import make_authority

# Compiling it takes as long as the allowance of a schema lets it.
PATTERN = r"(?:\p{L}{1,100}){1,50}"
IMAGE = {"type": "image_url", "image_url": {"url": "https://a.example"}}
CHAT: dict[str, Any] = {"model": CHAT_MODEL, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Serving]:
    with scripted_serving(tmp_path_factory.mktemp("abuse")) as served:
        yield served


def post(server: Serving, body: bytes | dict[str, Any], **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    url = f"{server.address}/v1/chat/completions"
    return httpx.post(url, content=content, headers={"Content-Type": "application/json", **headers}, timeout=30)


def test_answers_tell_browsers_to_make_nothing_of_them(server: Serving) -> None:
    for answer in (post(server, CHAT), post(server, b"{"), httpx.get(f"{server.address}/livez")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert "server" not in answer.headers


def test_a_page_that_calls_us_by_another_name_is_refused(server: Serving) -> None:
    assert post(server, CHAT, Host="evil.example").status_code == 403
    assert post(server, CHAT).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":' * 200_000,
        b"[" * 3_000_000,
        b'{"model":"' + b"\xff" * 100 + b'"}',
        b"null",
        msgspec.json.encode(CHAT | {"messages": CHAT["messages"] * 5000}),
        msgspec.json.encode(CHAT | {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}] * 5000}]}),
        msgspec.json.encode(CHAT | {"messages": [{"role": "user", "content": [IMAGE] * 200}]}),
    ],
    ids=["unclosed", "brackets", "no text", "null", "messages", "parts", "images"],
)
def test_a_monstrous_body_is_refused(server: Serving, body: bytes) -> None:
    answer = post(server, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: 1\r\n" % i for i in range(10_000)) + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["long header", "many headers", "not http", "two lengths", "bad chunk"],
)
def test_a_monstrous_head_is_refused(server: Serving, head: bytes) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(head)
        try:
            answer = connection.recv(65536)
        except ConnectionError:
            answer = b""
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"431")
    assert post(server, CHAT).status_code == 200


async def test_streams_go_on_beside_bodies_that_take_long_to_read(tmp_path: Path) -> None:
    parameters = {"properties": {"p": {"type": "string", "pattern": PATTERN}}}
    tools = [{"type": "function", "function": {"name": f"f{i}", "parameters": parameters}} for i in range(128)]
    with scripted_serving(tmp_path) as server:
        async with httpx.AsyncClient(base_url=server.address, timeout=60) as client:

            def post_soon(**fields: Any) -> Coroutine[Any, Any, httpx.Response]:
                return client.post("/v1/chat/completions", json=CHAT | fields)

            streams = [post_soon(stream=True) for _ in range(8)]
            attacks = [post_soon(tools=tools) for _ in range(8)]
            answers = await asyncio.gather(*streams, *attacks)
    assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers[:8])
    assert {answer.status_code for answer in answers[8:]} == {400}


async def test_https(tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    with scripted_serving(
        tmp_path, environment={"HEADRACE_GATEWAY_TLS_CERTIFICATE_FILE": str(authority.server_file)}
    ) as server:
        assert server.address.startswith("https://")
        context = ssl.create_default_context(cafile=str(authority.ca_file))
        async with httpx.AsyncClient(base_url=server.address, verify=context) as client:
            answer = await client.post("/v1/chat/completions", json=CHAT)
            assert answer.json()["choices"][0]["message"]["content"] == "A short answer."
