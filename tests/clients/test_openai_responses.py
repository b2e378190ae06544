"""The official OpenAI client's responses: made, streamed, continued, fetched, cancelled, deleted."""

from typing import Any

import openai
import pytest
from openai.types.responses import FunctionToolParam, ResponseFunctionToolCall

from tests.clients.asked import ARGUMENTS, DESCRIPTIONS, Forecast, check_arguments
from tests.clients.target import Target

QUESTION = "What is the capital of France?"
WEATHER = "What is the weather in Paris?"
TOOLS: list[FunctionToolParam] = [
    {
        "type": "function",
        "name": name,
        "description": DESCRIPTIONS[name],
        "parameters": kind.model_json_schema(),
        "strict": True,
    }
    for name, kind in ARGUMENTS.items()
]

pytestmark = pytest.mark.timeout(180)


def test_a_whole_response(client: openai.OpenAI, target: Target) -> None:
    response = client.responses.create(
        model=target.model, input=QUESTION, temperature=0, max_output_tokens=32, metadata={"a": "b"}
    )
    assert response.output_text == "The capital of France is Paris."
    assert (response.status, response.error, response.metadata) == ("completed", None, {"a": "b"})
    assert response.id.startswith("resp_")
    assert response.usage is not None
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_streamed_response(client: openai.OpenAI, target: Target) -> None:
    with client.responses.stream(model=target.model, input=QUESTION, temperature=0, max_output_tokens=32) as stream:
        events = list(stream)
        final = stream.get_final_response()
    kinds = [event.type for event in events]
    assert kinds[:2] == ["response.created", "response.in_progress"]
    assert kinds[-1] == "response.completed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert text == final.output_text == "The capital of France is Paris."


async def test_the_async_client(async_client: openai.AsyncOpenAI, target: Target) -> None:
    async with async_client.responses.stream(
        model=target.model, input=QUESTION, temperature=0, max_output_tokens=32
    ) as stream:
        final = await stream.get_final_response()
    assert final.output_text == "The capital of France is Paris."


def test_a_response_cut_short_is_incomplete(client: openai.OpenAI, target: Target) -> None:
    response = client.responses.create(
        model=target.model, input="count", max_output_tokens=16, extra_body={"ignore_eos": True}
    )
    assert response.status == "incomplete"
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_logprobs(client: openai.OpenAI, target: Target) -> None:
    response = client.responses.create(
        model=target.model,
        input=QUESTION,
        temperature=0,
        max_output_tokens=16,
        include=["message.output_text.logprobs"],
        top_logprobs=2,
    )
    (message,) = response.output
    assert message.type == "message"
    (part,) = message.content
    assert part.type == "output_text"
    assert part.logprobs
    assert all(len(token.top_logprobs) == 2 for token in part.logprobs)


def test_a_form_is_parsed(client: openai.OpenAI, target: Target) -> None:
    response = client.responses.parse(model=target.model, input=WEATHER, text_format=Forecast, max_output_tokens=100)
    assert isinstance(response.output_parsed, Forecast)


def test_a_streamed_form_is_parsed(client: openai.OpenAI, target: Target) -> None:
    with client.responses.stream(
        model=target.model, input=WEATHER, text_format=Forecast, max_output_tokens=100
    ) as stream:
        assert isinstance(stream.get_final_response().output_parsed, Forecast)


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_time"}], ids=["required", "named"])
def test_a_forced_call(client: openai.OpenAI, target: Target, choice: Any) -> None:
    response = client.responses.create(
        model=target.model,
        input=WEATHER,
        tools=TOOLS,
        tool_choice=choice,
        parallel_tool_calls=False,
        max_output_tokens=100,
    )
    (call,) = [item for item in response.output if isinstance(item, ResponseFunctionToolCall)]
    assert choice == "required" or call.name == "get_time"
    check_arguments(call.name, call.arguments)


def test_a_streamed_call(client: openai.OpenAI, target: Target) -> None:
    with client.responses.stream(
        model=target.model,
        input=WEATHER,
        tools=TOOLS,
        tool_choice={"type": "function", "name": "get_time"},
        max_output_tokens=100,
    ) as stream:
        deltas = [event.delta for event in stream if event.type == "response.function_call_arguments.delta"]
        final = stream.get_final_response()
    (call,) = final.output
    assert isinstance(call, ResponseFunctionToolCall)
    assert "".join(deltas) == call.arguments
    check_arguments("get_time", call.arguments)


def test_a_conversation_with_a_tool(scripted: Target) -> None:
    with scripted.open_openai() as client:
        asked = client.responses.create(model=scripted.model, input=WEATHER, tools=TOOLS)
        calls = [item for item in asked.output if isinstance(item, ResponseFunctionToolCall)]
        assert [call.name for call in calls] == ["get_weather", "get_time"]
        answered = client.responses.create(
            model=scripted.model,
            previous_response_id=asked.id,
            input=[{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"} for call in calls],
            tools=TOOLS,
        )
    assert answered.output_text == "It is sunny."
    assert answered.previous_response_id == asked.id


def test_a_response_is_kept_listed_and_deleted(client: openai.OpenAI, target: Target) -> None:
    made = client.responses.create(model=target.model, input=QUESTION, temperature=0, max_output_tokens=32)
    assert client.responses.retrieve(made.id).output_text == made.output_text
    (item,) = client.responses.input_items.list(made.id)
    assert item.type == "message"
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_response_that_is_not_stored_can_not_be_fetched(client: openai.OpenAI, target: Target) -> None:
    made = client.responses.create(model=target.model, input=QUESTION, store=False, max_output_tokens=16)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(made.id)


def test_a_response_in_the_background_is_cancelled(scripted: Target) -> None:
    before = scripted.cancelled()
    with scripted.open_openai() as client:
        made = client.responses.create(model=scripted.model, input="for ever", background=True)
        assert made.status in {"queued", "in_progress"}
        assert client.responses.cancel(made.id).status == "cancelled"
        assert client.responses.retrieve(made.id).status == "cancelled"
    scripted.wait_cancelled(before + 1)


def test_an_engine_that_fails_later_is_an_event(scripted: Target) -> None:
    with scripted.open_openai() as client:
        stream = client.responses.create(model=scripted.model, input="fail later", stream=True)
        last = list(stream)[-1]
    assert last.type in {"response.failed", "error"}


def test_reasoning_is_an_item_of_its_own(scripted: Target) -> None:
    with scripted.open_openai() as client:
        response = client.responses.create(model=scripted.model, input="think")
    assert [item.type for item in response.output] == ["reasoning", "message"]
    assert response.output_text == "I have thought."


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"temperature": 3}, "temperature"), ({"previous_response_id": "resp_nobody"}, "previous_response_id")],
)
def test_a_bad_request(client: openai.OpenAI, target: Target, fields: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model=target.model, input=QUESTION, extra_body=fields)
    assert caught.value.param == param
