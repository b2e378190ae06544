"""A client that goes on after a frame gets what comes after it, or hears why it can't."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from headrace.gateway.retained.generations import RetainedGenerations
from headrace.schema.settings import RetentionSettings
from headrace.transport.retention import MemoryRetention, MemoryRetentionStore, RetentionLimits
from tests.unit.gateway.doubles import CHAT, HELLO, ScriptedSource, make_app, open_client

BODY = {**CHAT, "stream": True}
PATHS = ("/v1/generations", "/v1/chat/completions", "/v1/messages", "/v1/responses")


class Desk:
    """One gateway, and calls to it."""

    def __init__(self) -> None:
        self.source = ScriptedSource(*HELLO)
        self.shared = MemoryRetention(RetentionLimits(seconds=60.0, max_count=100, max_total_bytes=2**20))
        self.retained = RetainedGenerations(
            self.source,
            MemoryRetentionStore(self.shared),
            settings=RetentionSettings(),
            default_timeout_seconds=100.0,
        )
        self.client = open_client(make_app(self.source, retained=self.retained))

    async def post(self, *, path: str = PATHS[0], body: dict[str, Any] = BODY, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(path, json=body, headers=named)

    async def begin(self, *, key: str) -> str:
        return (await self.post(idempotency_key=key)).headers["headrace-request-id"]


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    async with desk.client:
        yield desk
    await desk.retained.close()
    assert [kept.log.readers for kept in desk.shared.kept.values() if kept.log.readers] == []


def error_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["message"]


@pytest.mark.parametrize("retain", ["true", "false"])
async def test_a_place_without_a_key_begins_nothing_and_says_what_to_send(desk: Desk, retain: str) -> None:
    request_id = await desk.begin(key="k")
    status, message = error_of(await desk.post(last_event_id=f"{request_id}:3", headrace_retain=retain))
    assert status == 400
    assert "Idempotency-Key" in message
    assert f"GET /v1/generations/{request_id}" in message
    assert len(desk.source.submissions) == 1


@pytest.mark.parametrize("path", PATHS)
async def test_every_dialect_says_so(desk: Desk, path: str) -> None:
    spoken = {"max_tokens": 9} if path == "/v1/messages" else {}
    body = {"model": "demo", "input": "Hi"} if path == "/v1/responses" else {**BODY, **spoken}
    status, message = error_of(await desk.post(path=path, body=body, last_event_id="gen_x:3"))
    assert (status, "Idempotency-Key" in message) == (400, True)


async def test_what_is_no_place_is_refused(desk: Desk) -> None:
    assert (await desk.post(last_event_id="nonsense")).status_code == 400
    assert (await desk.post(last_event_id="nonsense", idempotency_key="k")).status_code == 400
    assert desk.source.submissions == []


async def test_a_generation_that_is_kept_no_more_is_not_begun_anew(desk: Desk) -> None:
    status, message = error_of(await desk.post(idempotency_key="k", last_event_id="gen_gone:3"))
    assert (status, "'gen_gone'" in message) == (409, True)
    assert desk.source.submissions == []


async def test_a_place_in_the_stream_of_another_key_is_refused(desk: Desk) -> None:
    first = await desk.begin(key="k")
    await desk.begin(key="l")
    status, message = error_of(await desk.post(idempotency_key="l", last_event_id=f"{first}:3"))
    assert (status, first in message, "Idempotency-Key" in message) == (409, True, True)


async def test_another_request_with_a_place_is_a_conflict(desk: Desk) -> None:
    first = await desk.begin(key="k")
    body = {**BODY, "messages": [{"role": "user", "content": "something else"}]}
    answer = await desk.post(body=body, idempotency_key="k", last_event_id=f"{first}:3")
    assert (answer.status_code, answer.json()["error"]["param"]) == (409, "Idempotency-Key")


@pytest.mark.parametrize("beyond", ["7", "6.1", "999999999999"])
async def test_a_place_beyond_the_end_is_refused_by_every_way_back(desk: Desk, beyond: str) -> None:
    first = await desk.begin(key="k")
    place = f"{first}:{beyond}"
    headers = {"Accept": "text/event-stream", "Last-Event-ID": place}
    for answer in (
        await desk.post(idempotency_key="k", last_event_id=place),
        await desk.client.get(f"/v1/generations/{first}", headers=headers),
    ):
        status, message = error_of(answer)
        assert (status, f"'{place}'" in message, "6 events" in message) == (409, True, True)


async def test_a_place_of_another_generation_is_refused_where_one_is_asked_for_by_its_id(desk: Desk) -> None:
    first, second = await desk.begin(key="k"), await desk.begin(key="l")
    headers = {"Accept": "text/event-stream", "Last-Event-ID": f"{first}:3"}
    status, message = error_of(await desk.client.get(f"/v1/generations/{second}", headers=headers))
    assert (status, first in message, second in message) == (409, True, True)
