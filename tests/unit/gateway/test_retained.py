"""Generations that outlive their HTTP call, over a scripted source and the store in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
import msgspec
import pytest

from headrace.gateway.facts import CallEnded, CallOpened, GatewayObserver, RequestRefusal
from headrace.gateway.retained.encoding import encode_record, encode_submission
from headrace.gateway.retained.generations import RetainedGenerations
from headrace.scheduler.base import OWN_ROUTE, GenerationRecord, Submission
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    GenerationFailed,
    SequenceDelta,
    SequenceFinished,
)
from headrace.schema.settings import RetentionSettings
from headrace.transport.retention import (
    MemoryRetention,
    MemoryRetentionStore,
    RetainedHead,
    RetentionLimits,
    RetentionUnavailableError,
)
from headrace.transport.tasks import TaskOwner
from tests.support.values import make_request
from tests.unit.gateway.doubles import CHAT, HELLO, ScriptedSource, Step, make_app, open_client

LIMITS = RetentionLimits(seconds=60.0, max_count=100, max_total_bytes=2**20)
NATIVE = {**CHAT, "stream": True}
RETAIN = {"Headrace-Retain": "true"}
FAILED = GenerationFailed(ErrorCode.WORKER_LOST, "lost", "queue", retryable=True)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class AwayStore(MemoryRetentionStore):
    """Finds nothing, because it can't be reached."""

    async def find(self, request_id: str) -> RetainedHead | None:
        raise RetentionUnavailableError(request_id)


class Gateway:
    """One gateway, with its source and a client."""

    def __init__(self, shared: MemoryRetention, *steps: Step, max_bytes: int = 2**20) -> None:
        self.source = ScriptedSource(*(steps or HELLO))
        self.store = MemoryRetentionStore(shared)
        self.dropped: list[tuple[str, float]] = []
        self.observers: list[GatewayObserver] = []
        self.retained = RetainedGenerations(
            self.source,
            self.store,
            settings=RetentionSettings(max_bytes=max_bytes),
            default_timeout_seconds=100.0,
            observers=self.observers,
            drop=lambda request_id, deadline: self.dropped.append((request_id, deadline)),
            clock=shared.clock,
        )
        self.client = open_client(make_app(self.source, retained=self.retained))

    async def post(self, path: str = "/v1/generations", *, key: str | None = None, **body: Any) -> httpx.Response:
        headers = RETAIN if key is None else {"Idempotency-Key": key}
        return await self.client.post(path, json={**CHAT, **body}, headers=headers)

    async def get(self, request_id: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(f"/v1/generations/{request_id}", headers=named)

    async def close(self) -> None:
        await self.client.aclose()
        await self.retained.close()


Open = Callable[..., Gateway]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def shared(clock: Clock) -> MemoryRetention:
    return MemoryRetention(LIMITS, clock=clock)


@pytest.fixture
async def open_gateway(shared: MemoryRetention) -> AsyncIterator[Open]:
    opened: list[Gateway] = []

    def open_(*steps: Step, **options: Any) -> Gateway:
        opened.append(Gateway(shared, *steps, **options))
        return opened[-1]

    yield open_
    for gateway in opened:
        await gateway.close()


@pytest.fixture
async def tasks() -> AsyncIterator[TaskOwner]:
    owner = TaskOwner()
    yield owner
    await owner.close()


def id_of(answer: httpx.Response) -> str:
    return answer.headers["headrace-request-id"]


def frames(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    """The frames of a stream with their ids, but for those without JSON."""
    found: list[tuple[str, dict[str, Any]]] = []
    for frame in answer.text.removesuffix("\n\n").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in frame.split("\n"))
        if fields["data"] != "[DONE]":
            found.append((fields["id"], msgspec.json.decode(fields["data"])))
    return found


def native_events(answer: httpx.Response) -> list[Mapping[str, Any]]:
    return [event for _, frame in frames(answer) for event in frame["events"]]


async def test_a_retained_stream_can_be_read_again_from_any_frame(open_gateway: Open) -> None:
    gateway = open_gateway()
    first = await gateway.post(stream=True)
    assert first.headers["headrace-retained"] == "true"
    assert "idempotent-replayed" not in first.headers
    request_id = id_of(first)
    again = await gateway.get(request_id, accept="text/event-stream")
    assert native_events(again) == native_events(first)
    for place, _ in frames(first)[:-1]:
        seen = int(place.rpartition(":")[2])
        rest = await gateway.get(request_id, accept="text/event-stream", last_event_id=place)
        assert native_events(rest) == native_events(first)[seen:]
    done = await gateway.get(request_id, accept="text/event-stream", last_event_id=frames(first)[-1][0])
    assert (done.status_code, done.text) == (204, "")
    assert len(gateway.source.submissions) == 1
    assert gateway.source.submissions[0].retained


async def test_a_client_that_leaves_stops_nothing(open_gateway: Open, tasks: TaskOwner) -> None:
    go_on = asyncio.Event()
    gateway = open_gateway(*HELLO[:2], go_on, *HELLO[2:])
    waiting = tasks.start(gateway.post(), name="call")
    await gateway.source.until(lambda: bool(gateway.source.generations) and gateway.source.generations[0].read >= 3)
    (submission,) = gateway.source.submissions
    running = await gateway.get(submission.request_id)
    assert running.json() == {
        "id": submission.request_id,
        "model": "demo",
        "state": "running",
        "sequences": [{"index": 0, "text": "Hello, world"}],
    }
    waiting.cancel()
    go_on.set()
    stream = await gateway.get(submission.request_id, accept="text/event-stream")
    assert native_events(stream)[-1]["type"] == "generation_finished"
    state = (await gateway.get(submission.request_id)).json()
    assert (state["state"], state["sequences"][0]["finish_reason"]) == ("finished", "stop")


async def test_tokens_are_kept_for_others_to_go_on_and_shown_to_whom_asked_for_them(open_gateway: Open) -> None:
    gateway = open_gateway()
    plain = await gateway.post(stream=True)
    asked = await gateway.post(stream=True, output={"token_ids": True})
    assert "token_ids" not in plain.text
    assert '"token_ids":[2,3]' in asked.text


async def test_what_only_a_key_brings_is_not_shown_as_an_empty_frame(open_gateway: Open) -> None:
    thinking = (SequenceDelta(0, "", (1,), None, "hm"), SequenceDelta(0, "", (2,)))
    gateway = open_gateway(HELLO[0], thinking, *HELLO[1:])
    answer = await gateway.post(stream=True)
    places = [place.rpartition(":")[2] for place, _ in frames(answer)]
    assert "" not in [event["text"] for event in native_events(answer) if event["type"] == "sequence_delta"]
    assert places[-1] == "8"
    rest = await gateway.get(id_of(answer), accept="text/event-stream", last_event_id=f"{id_of(answer)}:3")
    assert native_events(rest) == native_events(answer)[2:]


async def test_one_key_runs_once_and_the_answer_is_written_again_in_any_dialect(open_gateway: Open) -> None:
    gateways = [open_gateway(), open_gateway()]
    answers = await asyncio.gather(*(gateways[i % 2].post(key="k") for i in range(10)))
    assert sum(len(gateway.source.submissions) for gateway in gateways) == 1
    assert len({id_of(answer) for answer in answers}) == 1
    assert {answer.text for answer in answers} == {answers[0].text}
    assert sum(answer.headers.get("idempotent-replayed") == "true" for answer in answers) == 9
    chat = await gateways[1].post("/v1/chat/completions", key="k")
    assert chat.json()["choices"][0]["message"]["content"] == "Hello, world"
    assert id_of(chat) == id_of(answers[0])
    message = await gateways[0].post("/v1/chat/completions", key="k", stream=True)
    assert message.text.endswith("data: [DONE]\n\n")


async def test_another_request_with_the_same_key_is_a_conflict(open_gateway: Open) -> None:
    gateway = open_gateway()
    await gateway.post(key="k")
    answer = await gateway.post(key="k", messages=[{"role": "user", "content": "something else"}])
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")
    assert "Idempotency-Key" in answer.json()["error"]["message"]
    assert len(gateway.source.submissions) == 1


@pytest.mark.parametrize("private_first", [False, True])
async def test_a_private_call_shares_no_key_with_one_that_may_leave(open_gateway: Open, private_first: bool) -> None:
    gateway = open_gateway()
    private = {"Headrace-Privacy": "local_only"}
    first, second = (private, {}) if private_first else ({}, private)
    for headers, status in ((first, 200), (second, 409), (first, 200)):
        answer = await gateway.client.post("/v1/generations", json=CHAT, headers={"Idempotency-Key": "k", **headers})
        assert answer.status_code == status
    assert len(gateway.source.submissions) == 1


@pytest.mark.parametrize("key", ["", "a b", "ä".encode().decode("latin-1"), "x" * 256])
async def test_a_key_that_is_none(open_gateway: Open, key: str) -> None:
    gateway = open_gateway()
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    answer = await gateway.client.post("/v1/generations", json=CHAT, headers=headers)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "Idempotency-Key")


async def test_a_retryable_failure_before_any_output_leaves_the_key(open_gateway: Open) -> None:
    gateway = open_gateway((FAILED,))
    assert (await gateway.post(key="k")).status_code == 503
    gateway.source.steps = HELLO
    answer = await gateway.post(key="k")
    assert (answer.status_code, answer.json()["sequences"][0]["text"]) == (200, "Hello, world")
    assert "idempotent-replayed" not in answer.headers


async def test_a_failure_after_some_output_is_what_the_key_stands_for(open_gateway: Open) -> None:
    gateway = open_gateway(*HELLO[:2], (SequenceFinished(0, "error"), FAILED))
    assert (await gateway.post(key="k")).status_code == 503
    gateway.source.steps = HELLO
    answer = await gateway.post(key="k")
    assert (answer.status_code, answer.headers.get("idempotent-replayed")) == (503, None)
    assert len(gateway.source.submissions) == 1


async def test_a_request_that_is_not_accepted_leaves_the_key(open_gateway: Open) -> None:
    gateway = open_gateway()
    gateway.source.refusal = HeadraceError(ErrorCode.OVERLOADED, "later", retry_after_seconds=7)
    answer = await gateway.post(key="k")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    gateway.source.refusal = None
    assert (await gateway.post(key="k")).status_code == 200


async def test_an_openai_stream_is_gone_on_with_after_any_frame(open_gateway: Open) -> None:
    gateway = open_gateway()
    whole = await gateway.post("/v1/chat/completions", key="k", stream=True)
    parts = whole.text.removesuffix("\n\n").split("\n\n")
    for count, part in enumerate(parts, 1):
        place = part.split("\n")[0].removeprefix("id: ")
        headers = {"Idempotency-Key": "k", "Last-Event-ID": place}
        rest = await gateway.client.post("/v1/chat/completions", json={**CHAT, "stream": True}, headers=headers)
        assert rest.text == "".join(f"{frame}\n\n" for frame in parts[count:])


async def test_a_generation_that_is_too_large_ends_well_formed(open_gateway: Open) -> None:
    many = [(SequenceDelta(0, "x" * 100, (1,)),)] * 100
    gateway = open_gateway(HELLO[0], *many, max_bytes=2000)
    answer = await gateway.post(stream=True)
    *_, finished, failed = native_events(answer)
    assert finished == {"type": "sequence_finished", "index": 0, "finish_reason": "error"}
    assert failed["error"]["code"] == "payload_too_large"
    await gateway.source.until(lambda: gateway.source.generations[0].closed == 1)


async def test_a_gateway_that_retains_nothing_says_so_and_answers_all_else() -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        for headers in (RETAIN, {"Idempotency-Key": "k"}):
            refused = await client.post("/v1/generations", json=CHAT, headers=headers)
            assert refused.status_code == 400
            assert "redis.url" in refused.json()["error"]["message"]
        assert (await client.post("/v1/generations", json=CHAT)).status_code == 200
        assert (await client.get("/v1/generations/gen_x")).status_code == 404


async def test_a_cancel_reaches_a_generation_of_another_gateway(open_gateway: Open, tasks: TaskOwner) -> None:
    never = asyncio.Event()
    first, second = open_gateway(HELLO[0], never), open_gateway()
    await first.retained.start()
    task = tasks.start(first.post(), name="call")
    await first.source.until(lambda: bool(first.source.generations) and first.source.generations[0].read >= 2)
    request_id = first.source.submissions[0].request_id
    answer = await second.client.delete(f"/v1/generations/{request_id}")
    assert answer.json() == {"id": request_id, "cancelled": True}
    assert first.source.cancelled == [request_id]
    task.cancel()


async def test_a_cancel_reaches_what_runs_here_while_the_store_is_away(shared: MemoryRetention) -> None:
    never = asyncio.Event()
    source = ScriptedSource(HELLO[0], never)
    retained = RetainedGenerations(
        source, AwayStore(shared), settings=RetentionSettings(), default_timeout_seconds=100.0, clock=shared.clock
    )
    async with open_client(make_app(source, retained=retained)) as client, asyncio.TaskGroup() as group:
        call = group.create_task(client.post("/v1/generations", json=CHAT))
        await source.until(lambda: bool(source.generations) and source.generations[0].read >= 2)
        request_id = source.submissions[0].request_id
        assert (await client.delete(f"/v1/generations/{request_id}")).status_code == 503
        source.running.add(request_id)
        assert (await client.delete(f"/v1/generations/{request_id}")).json()["cancelled"] is True
        call.cancel()
    await retained.close()


async def test_what_a_dead_gateway_ran_is_adopted_and_read_on(
    open_gateway: Open, tasks: TaskOwner, clock: Clock
) -> None:
    never = asyncio.Event()
    first = open_gateway(*HELLO[:2], never)
    second = open_gateway(*HELLO[2:])
    begun = tasks.start(first.post(stream=True), name="call")
    await first.source.until(lambda: bool(first.source.generations) and first.source.generations[0].read >= 3)
    request_id = first.source.submissions[0].request_id
    reader = tasks.start(
        second.get(request_id, accept="text/event-stream", last_event_id=f"{request_id}:3"), name="call"
    )
    clock.now += 10.0
    await second.retained.start()
    async with asyncio.timeout(20):
        events = native_events(await reader)
    assert [event["type"] for event in events] == ["sequence_delta", "sequence_finished", "generation_finished"]
    (adoption,) = second.source.adoptions
    assert adoption.submission.request_id == request_id
    assert adoption.deadline == 1100.0
    assert adoption.events == (*HELLO[0], *HELLO[1])  # pyright: ignore[reportGeneralTypeIssues]
    assert adoption.record == GenerationRecord(route=OWN_ROUTE, target="demo", usage=adoption.record.usage)
    begun.cancel()


async def test_what_can_not_be_adopted_ends_with_the_reason(open_gateway: Open, tasks: TaskOwner, clock: Clock) -> None:
    never = asyncio.Event()
    first, second = open_gateway(*HELLO[:2], never), open_gateway()
    second.source.refusal = HeadraceError(ErrorCode.PROVIDER_UNAVAILABLE, "the provider's")
    begun = tasks.start(first.post(), name="call")
    await first.source.until(lambda: bool(first.source.generations) and first.source.generations[0].read >= 3)
    request_id = first.source.submissions[0].request_id
    clock.now += 10.0
    await second.retained.start()
    stream = await second.get(request_id, accept="text/event-stream")
    *_, finished, failed = native_events(stream)
    assert (finished["type"], failed["error"]["code"]) == ("sequence_finished", "provider_unavailable")
    assert failed["error"]["retryable"]
    assert second.dropped == [(request_id, 1100.0)]
    begun.cancel()


def _head(request_id: str, *, submission: bytes | None = None, facts: bytes = b"") -> RetainedHead:
    encoded = encode_submission(Submission(request_id=request_id, request=make_request("demo"), retained=True))
    return RetainedHead(
        request_id=request_id,
        tenant_id="",
        submission=encoded if submission is None else submission,
        submitted_at=1000.0,
        deadline=1100.0,
        facts=facts,
    )


async def test_what_was_lost_before_it_was_known_to_be_queued_is_dropped_by_the_workers(
    open_gateway: Open, clock: Clock
) -> None:
    first, second = open_gateway(), open_gateway()
    await first.store.open(_head("r"))
    clock.now += 10.0
    await second.retained.start()
    answer = await second.get("r", accept="text/event-stream")
    assert answer.json()["error"]["code"] == "stream_broken"
    assert (second.source.adoptions, second.dropped) == ([], [("r", 1100.0)])


async def test_a_task_that_is_refused_is_dropped_under_the_id_that_its_workers_know(
    open_gateway: Open, clock: Clock
) -> None:
    first, second = open_gateway(), open_gateway()
    second.source.refusal = HeadraceError(ErrorCode.WORKER_LOST, "it was tried once more")
    await first.store.open(_head("r", facts=encode_record(GenerationRecord(target="demo", task_id="r-2"))))
    clock.now += 10.0
    await second.retained.start()
    answer = await second.get("r", accept="text/event-stream")
    assert answer.json()["error"]["code"] == "worker_lost"
    assert second.dropped == [("r-2", 1100.0)]


class FaultyObserver:
    """A `GatewayObserver` that breaks its contract."""

    def call_opened(self, fact: CallOpened) -> None:
        raise RuntimeError(fact.model)

    def call_ended(self, fact: CallEnded) -> None:
        pass

    def request_refused(self, fact: RequestRefusal) -> None:
        pass


async def test_a_fault_while_one_is_adopted_ends_that_one_and_not_the_adopting(
    open_gateway: Open, clock: Clock
) -> None:
    first, second = open_gateway(), open_gateway()
    facts = encode_record(GenerationRecord(target="demo"))
    second.observers.append(FaultyObserver())
    await first.store.open(_head("r", facts=facts))
    clock.now += 10.0
    await second.retained.start()
    answer = await second.get("r", accept="text/event-stream")
    assert answer.json()["error"]["code"] == "internal_error"
    assert second.dropped == [("r", 1100.0)]
    second.observers.clear()
    await first.store.open(_head("s", facts=facts))
    clock.now += 10.0
    stream = await second.get("s", accept="text/event-stream")
    assert native_events(stream)[-1]["type"] == "generation_finished"


async def test_what_can_not_be_read_here_is_left_to_others(
    open_gateway: Open, shared: MemoryRetention, clock: Clock
) -> None:
    first, second = open_gateway(), open_gateway()
    await first.store.open(_head("newer", submission=b"not ours"))
    await first.store.open(_head("r"))
    clock.now += 10.0
    await second.retained.start()
    await second.get("r", accept="text/event-stream")
    assert shared.kept["newer"].owner is None
    assert second.dropped == [("r", 1100.0)]


@pytest.mark.parametrize("path", ["/v1/generations", "/v1/chat/completions"])
async def test_an_end_that_only_this_gateway_tells_is_no_place_in_the_stream(
    open_gateway: Open, tasks: TaskOwner, shared: MemoryRetention, path: str
) -> None:
    gateway = open_gateway(*HELLO[:2], asyncio.Event())
    call = tasks.start(gateway.post(path, stream=True), name="call")
    await gateway.source.until(lambda: bool(gateway.source.generations) and gateway.source.generations[0].read >= 3)
    (kept,) = shared.kept.values()
    kept.log.break_off(FAILED)
    answer = await call
    assert answer.text.count("worker_lost") == 1
    ids = [line for line in answer.text.split("\n") if line.startswith("id: ")]
    assert ids[-1].rpartition(":")[2] == "4"


async def test_another_tenant_finds_nothing(open_gateway: Open) -> None:
    gateway = open_gateway()
    answer = await gateway.post()
    with pytest.raises(HeadraceError) as caught:
        await gateway.retained.take_up(id_of(answer), Caller(tenant_id="other"))
    assert caught.value.code == ErrorCode.NOT_FOUND
    assert not await gateway.retained.cancel(id_of(answer), Caller(tenant_id="other"))
