"""Background responses of two gateways that share what is kept: streamed, gone on with, cancelled, and outlived."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from headrace.gateway.retained.generations import RetainedGenerations
from headrace.schema.events import GenerationFailed, SequenceDelta, SequenceFinished
from headrace.schema.settings import RetentionSettings
from headrace.transport.records import MemoryRecords
from headrace.transport.retention import MemoryRetention, MemoryRetentionStore, RetentionLimits
from headrace.transport.tasks import TaskOwner
from tests.unit.gateway.doubles import HELLO, ScriptedSource, make_app, open_client
from tests.unit.gateway.responses_sdk import ASK, read_frames
from tests.unit.gateway.test_responses_routes import open_sdk

WAIT_SECONDS = 20
BACKGROUND = {**ASK, "background": True}
STREAMED = {**BACKGROUND, "stream": True}


class EndingSource(ScriptedSource):
    """Says a word, and waits until it is cancelled or told to end well."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.rest: list[Any] = [*HELLO[2]]  # type: ignore[misc]
        super().__init__(HELLO[0], (SequenceDelta(0, "Hello", (1,)),), self.gate, self.rest)

    def cancel(self, request_id: str) -> bool:
        is_here = request_id in [item.request_id for item in self.generations]
        if is_here and not self.gate.is_set():
            end = GenerationFailed("cancelled", "the generation was cancelled", "decode", retryable=False)
            self.rest[:] = [SequenceFinished(0, "cancelled"), end]
            self.gate.set()
        return is_here


class SharedStore(MemoryRetentionStore):
    """Stands for one that other processes see."""

    @property
    def is_shared(self) -> bool:
        return True


class Gateways:
    """Two of them."""

    def __init__(self) -> None:
        shared = MemoryRetention(RetentionLimits(seconds=60.0, max_count=100, max_total_bytes=2**20))
        self.shared = shared
        self.records = MemoryRecords()
        self.sources = (EndingSource(), EndingSource())
        self.retained = [
            RetainedGenerations(
                source, SharedStore(shared), settings=RetentionSettings(), default_timeout_seconds=100.0
            )
            for source in self.sources
        ]
        self.apps = [
            make_app(source, retained=retained, records=self.records)
            for source, retained in zip(self.sources, self.retained, strict=True)
        ]
        self.here, self.there = map(open_client, self.apps)

    async def begin(self) -> str:
        """Begin a background response here, and return its id when it has said something."""
        response = (await self.here.post("/v1/responses", json=BACKGROUND)).json()
        await self.sources[0].until(lambda: self.sources[0].generations[0].read >= 3)
        return response["id"]


@pytest.fixture
async def gateways() -> AsyncIterator[Gateways]:
    gateways = Gateways()
    await gateways.retained[0].start()
    yield gateways
    for client in (gateways.here, gateways.there):
        await client.aclose()
    for retained in gateways.retained:
        await retained.close()


@pytest.fixture
async def tasks() -> AsyncIterator[TaskOwner]:
    owner = TaskOwner()
    yield owner
    await owner.close()


async def wait_for(client: httpx.AsyncClient, response_id: str, *statuses: str) -> dict[str, Any]:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            response = (await client.get(f"/v1/responses/{response_id}")).json()
            if response["status"] in statuses:
                return response
            await asyncio.sleep(0)


async def wait_until_gone(client: httpx.AsyncClient, response_id: str) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            if (await client.get(f"/v1/responses/{response_id}")).status_code == 404:
                return
            await asyncio.sleep(0)


def without_ids(text: str) -> list[str]:
    """The frames of a stream, without the ids that the first one has for `Last-Event-ID`."""
    frames = text.removesuffix("\n\n").split("\n\n")
    return ["\n".join(line for line in frame.split("\n") if not line.startswith("id: ")) for frame in frames]


async def test_a_background_stream_is_gone_on_with_after_any_event_at_another_gateway(gateways: Gateways) -> None:
    gateways.sources[0].gate.set()
    first = await gateways.here.post("/v1/responses", json=STREAMED)
    frames = without_ids(first.text)
    events = read_frames("\n\n".join([*frames, ""]))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    response_id = events[0]["response"]["id"]
    assert events[0]["response"]["background"] is True
    assert await wait_for(gateways.there, response_id, "completed") == events[-1]["response"]
    for number in range(-1, len(events) - 1):
        query = {"stream": "true"} | ({} if number < 0 else {"starting_after": str(number)})
        rest = await gateways.there.get(f"/v1/responses/{response_id}", params=query)
        assert rest.headers["content-type"].startswith("text/event-stream")
        assert without_ids(rest.text) == frames[number + 1 :]


async def test_a_background_stream_goes_on_when_its_client_has_left(gateways: Gateways, tasks: TaskOwner) -> None:
    source = gateways.sources[0]
    call = tasks.start(gateways.here.post("/v1/responses", json=STREAMED), name="call")
    await source.until(lambda: bool(source.generations) and source.generations[0].read >= 3)
    response_id = source.submissions[0].request_id.replace("gen_", "resp_")
    call.cancel()
    await asyncio.wait({call})
    assert (await wait_for(gateways.there, response_id, "in_progress"))["output"] == []
    source.gate.set()
    done = await wait_for(gateways.there, response_id, "completed")
    assert done["output"][0]["content"][0]["text"] == "Hello"
    assert await wait_for(gateways.here, response_id, "completed") == done


async def test_a_stream_that_is_gone_on_with_waits_for_what_comes(gateways: Gateways, tasks: TaskOwner) -> None:
    response_id = await gateways.begin()
    reading = tasks.start(gateways.there.get(f"/v1/responses/{response_id}", params={"stream": "true"}), name="reading")
    await asyncio.sleep(0)
    gateways.sources[0].gate.set()
    events = read_frames((await reading).text)
    assert events[-1]["type"] == "response.completed"


async def test_another_gateway_cancels_what_runs_in_the_background(gateways: Gateways) -> None:
    response_id = await gateways.begin()
    cancelled = (await gateways.there.post(f"/v1/responses/{response_id}/cancel")).json()
    assert cancelled["status"] == "cancelled"
    assert await wait_for(gateways.here, response_id, "cancelled") == cancelled


async def test_what_another_gateway_deletes_stays_deleted(gateways: Gateways) -> None:
    response_id = await gateways.begin()
    assert (await gateways.there.delete(f"/v1/responses/{response_id}")).status_code == 200
    assert (await gateways.there.get(f"/v1/responses/{response_id}")).status_code == 404
    # Until the gateway that made it has heard of its end.
    await wait_until_gone(gateways.here, response_id)
    assert (await gateways.there.get(f"/v1/responses/{response_id}")).status_code == 404


async def test_a_gateway_that_leaves_does_not_end_what_another_goes_on_with(gateways: Gateways) -> None:
    response_id = await gateways.begin()
    await gateways.retained[0].leave()
    gateways.sources[1].gate.set()
    await gateways.retained[1].start()
    assert (await wait_for(gateways.there, response_id, "completed"))["error"] is None


async def test_what_nobody_keeps_any_more_has_failed(gateways: Gateways) -> None:
    response_id = await gateways.begin()
    gateways.shared.forget(response_id.replace("resp_", "gen_"))
    lost = (await gateways.there.get(f"/v1/responses/{response_id}")).json()
    assert (lost["status"], lost["error"]["code"]) == ("failed", "server_error")


async def test_who_goes_on_from_a_background_response_may_do_it_at_another_gateway(gateways: Gateways) -> None:
    response_id = await gateways.begin()
    further = {**ASK, "previous_response_id": response_id}
    refused = await gateways.there.post("/v1/responses", json=further)
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "previous_response_id")
    for source in gateways.sources:
        source.gate.set()
    await wait_for(gateways.here, response_id, "completed")
    assert (await gateways.there.post("/v1/responses", json=further)).status_code == 200


async def test_without_retention_there_is_no_background_stream() -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        answer = await client.post("/v1/responses", json=STREAMED)
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "background")
        assert "redis.url" in answer.json()["error"]["message"]
        assert (await client.post("/v1/responses", json=BACKGROUND)).status_code == 200


async def test_the_vendors_client_goes_on_with_a_stream(gateways: Gateways) -> None:
    gateways.sources[0].gate.set()
    async with open_sdk(gateways.apps[0]) as here, open_sdk(gateways.apps[1]) as there:
        stream = await here.responses.create(model="demo", input="hi", background=True, stream=True)
        events = [event async for event in stream]
        created = events[0]
        assert created.type == "response.created"
        again = await there.responses.retrieve(
            created.response.id, stream=True, starting_after=events[2].sequence_number
        )
        assert [event async for event in again] == events[3:]
