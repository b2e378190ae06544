"""Who reads a retained generation lets go of it, however the call ends."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from headrace.gateway.retained.adopted import adopted_call
from headrace.gateway.retained.generations import RetainedGenerations
from headrace.scheduler.base import Submission
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationFailed, SequenceFinished
from headrace.schema.settings import RetentionSettings
from headrace.transport.retention import MemoryRetention, MemoryRetentionStore, RetentionLimits
from tests.support.values import fresh_name, make_request
from tests.unit.gateway.doubles import CHAT, HELLO, ScriptedSource, make_app, open_client

WAIT_SECONDS = 20
KEY = {"Idempotency-Key": "k"}


def make_shared() -> MemoryRetention:
    return MemoryRetention(RetentionLimits(seconds=60.0, max_count=100, max_total_bytes=2**20))


def make_retained(source: ScriptedSource, store: MemoryRetentionStore) -> RetainedGenerations:
    return RetainedGenerations(source, store, settings=RetentionSettings(), default_timeout_seconds=100.0)


@pytest.fixture
async def shared() -> MemoryRetention:
    return make_shared()


@pytest.fixture
async def client(shared: MemoryRetention) -> AsyncIterator[httpx.AsyncClient]:
    source = ScriptedSource(*HELLO)
    retained = make_retained(source, MemoryRetentionStore(shared))
    async with open_client(make_app(source, retained=retained)) as opened:
        yield opened
    await retained.close()


async def test_a_replay_with_a_wrong_place_leaves_no_reader(client: httpx.AsyncClient, shared: MemoryRetention) -> None:
    first = await client.post("/v1/generations", json=CHAT, headers=KEY)
    wrong = await client.post("/v1/generations", json=CHAT, headers={**KEY, "Last-Event-ID": "nonsense"})
    assert (first.status_code, wrong.status_code) == (200, 400)
    assert [kept.log.readers for kept in shared.kept.values()] == [0]


async def test_a_client_that_has_all_leaves_no_reader(client: httpx.AsyncClient, shared: MemoryRetention) -> None:
    first = await client.post("/v1/generations", json=CHAT, headers=KEY)
    request_id = first.headers["headrace-request-id"]
    headers = {"Accept": "text/event-stream", "Last-Event-ID": f"{request_id}:6"}
    done = await client.get(f"/v1/generations/{request_id}", headers=headers)
    assert done.status_code == 204
    assert [kept.log.readers for kept in shared.kept.values()] == [0]


class EndingSource(ScriptedSource):
    """Runs one generation until it is cancelled."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        end = GenerationFailed("cancelled", "the generation was cancelled", "decode", retryable=False)
        super().__init__(HELLO[0], self.gate, (SequenceFinished(0, "cancelled"), end))

    def cancel(self, request_id: str) -> bool:
        is_here = super().cancel(request_id) or request_id in [item.request_id for item in self.generations]
        if is_here:
            self.gate.set()
        return is_here


@pytest.mark.parametrize("end", ["cancel", "delete"])
async def test_a_background_response_that_another_gateway_runs_is_cancelled_there(
    shared: MemoryRetention, end: str
) -> None:
    first, second = EndingSource(), EndingSource()
    owner, other = (make_retained(source, MemoryRetentionStore(shared)) for source in (first, second))
    await owner.start()
    body = {"model": "demo", "input": "hi", "background": True}
    async with (
        open_client(make_app(first, retained=owner)) as here,
        open_client(make_app(second, retained=other)) as there,
    ):
        response = (await here.post("/v1/responses", json=body, headers=KEY)).json()
        replayed = (await there.post("/v1/responses", json=body, headers=KEY)).json()
        assert replayed["id"] == response["id"]
        async with asyncio.timeout(WAIT_SECONDS):
            if end == "cancel":
                done = (await there.post(f"/v1/responses/{response['id']}/cancel")).json()
                assert done["status"] == "cancelled"
            else:
                assert (await there.delete(f"/v1/responses/{response['id']}")).status_code == 200
    assert first.gate.is_set()
    assert not second.generations
    for retained in (owner, other):
        await retained.close()


class SharedStore(MemoryRetentionStore):
    """Stands for one that other processes see."""

    @property
    def is_shared(self) -> bool:
        return True


async def test_a_gateway_that_leaves_breaks_off_what_is_read_of_another(shared: MemoryRetention) -> None:
    source = ScriptedSource(HELLO[0], asyncio.Event())
    owner, other = make_retained(source, SharedStore(shared)), make_retained(source, SharedStore(shared))
    submission = Submission(request_id=fresh_name("gen"), request=make_request())
    call = adopted_call(submission, ())
    await owner.open(submission, key=None, call=call)
    taken = await other.take_up(submission.request_id, submission.caller)
    assert len(await anext(taken.reader)) == 2
    async with asyncio.timeout(WAIT_SECONDS):
        _, (last,) = await asyncio.gather(other.leave(), anext(taken.reader))
    assert isinstance(last, GenerationFailed)
    assert last.code == "shutting_down"
    await taken.reader.aclose()
    await owner.close()
    await other.close()


async def test_calls_that_are_not_accepted_take_the_place_of_no_answer() -> None:
    shared = MemoryRetention(RetentionLimits(seconds=60.0, max_count=2, max_total_bytes=2**20))
    source = ScriptedSource(*HELLO)
    retained = make_retained(source, MemoryRetentionStore(shared))
    retain = {"Headrace-Retain": "true"}
    async with open_client(make_app(source, retained=retained)) as client:
        kept = await client.post("/v1/generations", json=CHAT, headers=retain)
        source.refusal = HeadraceError(ErrorCode.RATE_LIMITED, "too many")
        for headers in (retain, retain, KEY, KEY):
            refused = await client.post("/v1/generations", json=CHAT, headers=headers)
            assert refused.status_code == 429
        assert (await client.get(f"/v1/generations/{kept.headers['headrace-request-id']}")).status_code == 200
    await retained.close()
    assert len(shared.kept) == 1
    assert not shared.keys
