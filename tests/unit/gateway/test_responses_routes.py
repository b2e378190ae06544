"""OpenAI's own client against the routes: create, stream, continue, retrieve, cancel, delete, list."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pydantic
import pytest
from litestar import Litestar
from openai.types.responses import Response, ResponseFunctionToolCall, ResponseInputParam

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    ToolCallDelta,
)
from headrace.schema.messages import ReasoningPart, TextPart, ToolCallPart
from headrace.schema.settings import GatewaySettings
from tests.unit.gateway.doubles import HELLO, USAGE, ScriptedSource, Step, make_app, open_client
from tests.unit.gateway.responses_sdk import ASK, read_frames

START = (GenerationStarted("worker-1", 5), SequenceStarted(0))
END = (SequenceFinished(0, "stop"), GenerationFinished(USAGE))
CANCELLED = (GenerationFailed("cancelled", "the generation was cancelled", "decode", retryable=False),)
CALLS: tuple[Step, ...] = (
    START,
    (
        SequenceDelta(0, "wait", reasoning="hm"),
        SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, '{"a":', "call_1", "look_up"),)),
        SequenceDelta(0, "", tool_calls=(ToolCallDelta(0, "1}"),)),
    ),
    (SequenceFinished(0, "tool_calls"), GenerationFinished(USAGE)),
)
TOOL: Any = {"type": "function", "name": "look_up", "parameters": {"type": "object"}, "strict": True}


class GatedSource(ScriptedSource):
    """Stops in the middle until it is told to go on, or is cancelled."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.rest: list[Event] = [*END]
        super().__init__(START, (SequenceDelta(0, "Hello"),), self.gate, self.rest)

    def cancel(self, request_id: str) -> bool:
        if self.gate.is_set():
            return False
        self.rest[:] = CANCELLED
        self.gate.set()
        return True


@asynccontextmanager
async def open_sdk(app: Litestar) -> AsyncGenerator[openai.AsyncOpenAI]:
    # The client is written for another release of httpx, which is the same in this.
    http: Any = open_client(app)
    async with openai.AsyncOpenAI(
        base_url="http://gateway/v1",
        api_key="any",
        max_retries=0,
        http_client=http,
        _strict_response_validation=True,
    ) as client:
        yield client


async def wait_until_done(client: openai.AsyncOpenAI, response: Response) -> Response:
    async with asyncio.timeout(5):
        while response.status in ("queued", "in_progress"):
            # The whole exchange is in this process, and would let nothing else run.
            await asyncio.sleep(0)
            response = await client.responses.retrieve(response.id)
    return response


async def test_a_whole_answer_that_is_kept() -> None:
    source = ScriptedSource(*HELLO)
    async with open_sdk(make_app(source)) as client:
        response = await client.responses.create(
            model="demo", input="hi", instructions="be kind", metadata={"a": "b"}, temperature=0.5, user="me"
        )
        assert await client.responses.retrieve(response.id) == response
    assert response.output_text == "Hello, world"
    assert (response.status, response.metadata, response.user) == ("completed", {"a": "b"}, "me")
    assert (response.instructions, response.temperature) == ("be kind", 0.5)
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.output_tokens, response.usage.total_tokens) == (5, 7, 12)
    assert response.usage.input_tokens_details.cached_tokens == 2
    assert source.submissions[0].request_id == response.id.replace("resp_", "gen_")


async def test_a_stream_ends_with_the_response_that_is_kept() -> None:
    source = ScriptedSource(*CALLS)
    async with open_sdk(make_app(source)) as client:
        async with client.responses.stream(model="demo", input="hi", tools=[TOOL]) as stream:
            texts = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
        kept = await client.responses.retrieve(final.id)
    assert texts == ["wait"]
    assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]
    assert [item.type for item in kept.output] == [item.type for item in final.output]
    assert (kept.output_text, kept.usage) == (final.output_text, final.usage)


async def test_parsing_what_a_schema_asked_for() -> None:
    class Place(pydantic.BaseModel):
        name: str

    source = ScriptedSource(START, (SequenceDelta(0, '{"name": "Paris"}'),), END)
    async with open_sdk(make_app(source)) as client:
        response = await client.responses.parse(model="demo", input="where?", text_format=Place)
    assert response.output_parsed == Place(name="Paris")


async def test_going_on_from_a_response() -> None:
    source = ScriptedSource(*CALLS)
    async with open_sdk(make_app(source)) as client:
        first = await client.responses.create(model="demo", input="hi", tools=[TOOL], instructions="be kind")
        call = first.output[-1]
        assert isinstance(call, ResponseFunctionToolCall)
        result: ResponseInputParam = [{"type": "function_call_output", "call_id": call.call_id, "output": "3"}]
        second = await client.responses.create(
            model="demo", input=result, previous_response_id=first.id, extra_body={"prompt": None}
        )
        items = await client.responses.input_items.list(second.id, order="asc", limit=3)
        names = [item.type async for item in items]
        newest = await client.responses.input_items.list(second.id)
    assert second.previous_response_id == first.id
    messages = source.submissions[1].request.messages
    assert [message.role for message in messages] == ["user", "assistant", "tool"]
    assert messages[1].parts == (
        ReasoningPart("hm"),
        TextPart("wait"),
        ToolCallPart(id="call_1", name="look_up", arguments='{"a":1}'),
    )
    assert names == ["message", "reasoning", "message", "function_call", "function_call_output"]
    assert newest.data[0].type == "function_call_output"
    assert newest.has_more is False


async def test_sending_the_output_back() -> None:
    source = ScriptedSource(*CALLS)
    async with open_sdk(make_app(source)) as client:
        first = await client.responses.create(model="demo", input="hi", tools=[TOOL])
        back: Any = [{"role": "user", "content": "hi"}, *first.output]
        dumped: Any = [{"role": "user", "content": "hi"}, *(item.model_dump(by_alias=True) for item in first.output)]
        referred: Any = [{"role": "user", "content": "hi"}, *({"id": item.id} for item in first.output)]
        for items in (back, dumped, referred):
            await client.responses.create(model="demo", input=items)
    assert len({submission.request.messages for submission in source.submissions[1:]}) == 1
    assert len(source.submissions[1].request.messages[1].parts) == 3


async def test_deleting() -> None:
    async with open_sdk(make_app(ScriptedSource(*HELLO))) as client:
        response = await client.responses.create(model="demo", input="hi")
        await client.responses.delete(response.id)
        for call in (client.responses.retrieve, client.responses.delete, client.responses.cancel):
            with pytest.raises(openai.NotFoundError) as caught:
                await call(response.id)
            assert caught.value.body == {
                "message": f"Response with id '{response.id}' not found.",
                "type": "invalid_request_error",
                "param": None,
                "code": None,
            }


async def test_what_is_not_to_be_kept_is_not() -> None:
    app = make_app(ScriptedSource(*HELLO), settings=GatewaySettings(response_store_bytes=0))
    async with open_sdk(app) as none_kept, open_sdk(make_app(ScriptedSource(*HELLO))) as client:
        forgotten = [
            (client, await client.responses.create(model="demo", input="hi", store=False)),
            (none_kept, await none_kept.responses.create(model="demo", input="hi")),
        ]
        for asked, response in forgotten:
            with pytest.raises(openai.NotFoundError):
                await asked.responses.retrieve(response.id)
            with pytest.raises(openai.BadRequestError) as caught:
                await asked.responses.create(model="demo", input="hi", previous_response_id=response.id)
            assert (caught.value.code, caught.value.param) == ("previous_response_not_found", "previous_response_id")
            reference: Any = [{"type": "item_reference", "id": response.output[0].id}]
            with pytest.raises(openai.NotFoundError) as missing:
                await asked.responses.create(model="demo", input=reference)
            assert missing.value.param == "input"


async def test_a_background_response() -> None:
    source = GatedSource()
    async with open_sdk(make_app(source)) as client:
        response = await client.responses.create(model="demo", input="hi", background=True)
        assert (response.status, response.background, response.output) == ("queued", True, [])
        await source.until(lambda: source.generations[0].read == 3)
        assert (await client.responses.retrieve(response.id)).status == "in_progress"
        items = await client.responses.input_items.list(response.id)
        assert len(items.data) == 1
        with pytest.raises(openai.BadRequestError, match="not completed"):
            await client.responses.create(model="demo", input="hi", previous_response_id=response.id)
        source.gate.set()
        done = await wait_until_done(client, response)
        assert (done.status, done.output_text) == ("completed", "Hello")
        assert await client.responses.cancel(response.id) == done
    assert source.generations[0].closed == 1


async def test_cancelling_a_background_response() -> None:
    source = GatedSource()
    async with open_sdk(make_app(source)) as client:
        response = await client.responses.create(model="demo", input="hi", background=True)
        await source.until(lambda: source.generations[0].read == 3)
        cancelled = await client.responses.cancel(response.id)
        assert (cancelled.status, cancelled.output_text) == ("cancelled", "Hello")
        assert await client.responses.cancel(response.id) == cancelled
        assert await client.responses.retrieve(response.id) == cancelled
    assert source.generations[0].closed == 1


async def test_deleting_a_background_response_cancels_it() -> None:
    source = GatedSource()
    async with open_sdk(make_app(source)) as client:
        response = await client.responses.create(model="demo", input="hi", background=True)
        await client.responses.delete(response.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(response.id)
    assert source.generations[0].closed == 1


async def test_a_background_response_that_fails() -> None:
    failed = GenerationFailed("deadline_exceeded", "it took too long", "decode", retryable=True)
    async with open_sdk(make_app(ScriptedSource(START, (failed,)))) as client:
        response = await client.responses.create(model="demo", input="hi", background=True)
        done = await wait_until_done(client, response)
    assert done.status == "failed"
    assert done.error is not None
    assert (done.error.code, done.error.message) == ("server_error", "it took too long")


async def test_a_background_response_that_is_not_accepted() -> None:
    source = ScriptedSource()
    source.refusal = HeadraceError(ErrorCode.OVERLOADED, "no")
    async with open_sdk(make_app(source)) as client:
        with pytest.raises(openai.RateLimitError):
            await client.responses.create(model="demo", input="hi", background=True)


async def test_the_process_waits_for_what_runs_in_the_background() -> None:
    source = GatedSource()
    app = make_app(source)
    async with open_sdk(app) as client:
        async with app.lifespan():
            response = await client.responses.create(model="demo", input="hi", background=True)
            asyncio.get_running_loop().call_later(0, source.gate.set)
        assert (await client.responses.retrieve(response.id)).status == "completed"


async def test_only_background_responses_can_be_cancelled() -> None:
    async with open_sdk(make_app(ScriptedSource(*HELLO))) as client:
        response = await client.responses.create(model="demo", input="hi")
        with pytest.raises(openai.BadRequestError, match="Cannot cancel a synchronous response"):
            await client.responses.cancel(response.id)


@pytest.mark.parametrize(
    ("path", "query", "param"),
    [
        ("/input_items", {"limit": "0"}, "limit"),
        ("/input_items", {"limit": "101"}, "limit"),
        ("/input_items", {"limit": "many"}, "limit"),
        ("/input_items", {"order": "up"}, "order"),
        ("/input_items", {"after": "msg_1"}, "after"),
        ("", {"stream": "true"}, "stream"),
        ("", {"stream": "maybe"}, "stream"),
        ("", {"starting_after": "1"}, "starting_after"),
        ("", {"stream": "true", "starting_after": "-1"}, "starting_after"),
    ],
)
async def test_queries_that_are_refused(path: str, query: dict[str, str], param: str) -> None:
    async with open_client(make_app(ScriptedSource(*HELLO))) as client:
        response = await client.post("/v1/responses", json=ASK)
        answer = await client.get(f"/v1/responses/{response.json()['id']}{path}", params=query)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_before_the_first_byte_has_its_own_status(stream: bool) -> None:
    failed = GenerationFailed("context_length_exceeded", "too long", "prefill", retryable=False, param="messages")
    async with open_sdk(make_app(ScriptedSource((failed,)))) as client:
        with pytest.raises(openai.BadRequestError) as caught:
            await client.responses.create(model="demo", input="hi", stream=stream)
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "input")


async def test_a_stream_that_fails_is_kept_as_failed() -> None:
    failed = GenerationFailed("worker_lost", "gone", "decode", retryable=True)
    async with open_client(make_app(ScriptedSource(START, (SequenceDelta(0, "Hel"),), (failed,)))) as client:
        events = read_frames((await client.post("/v1/responses", json=ASK | {"stream": True})).text)
        kept = (await client.get(f"/v1/responses/{events[0]['response']['id']}")).json()
    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert kept == events[-1]["response"]
    assert (kept["status"], kept["output"][0]["content"][0]["text"]) == ("failed", "Hel")


@pytest.mark.parametrize(
    ("change", "status", "param"),
    [({"model": "other"}, 404, "model"), ({"input": ""}, 400, "input"), ({"nothing": 1}, 400, "nothing")],
)
async def test_a_call_that_is_refused(change: dict[str, Any], status: int, param: str) -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        answer = await client.post("/v1/responses", json=ASK | change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
    assert answer.headers["x-request-id"].startswith("gen_")
    assert source.submissions == []
