"""Every kind of request passes the queue path, over memory: what is asked for comes back to its reader."""

from collections.abc import AsyncIterator

import pytest

from headrace.gateway.answer import Answer, AnswerFold
from headrace.scheduler.base import Submission
from headrace.schema.events import Event, GenerationFinished, GenerationQueued, SequenceDelta
from headrace.schema.formats import JsonObjectFormat
from headrace.schema.messages import Message
from headrace.schema.request import ChatCompletionRequest, EmbeddingParams, GenerationParameters, OutputFlags
from headrace.schema.tools import Tool, ToolChoice
from tests.contract.transport.harness import MemoryHarness
from tests.integration.path.rig import Rig, read, running_rig
from tests.support.values import fresh_name

HELLO = (Message("user", "Hello"),)
TEXTS = ["one two three", "red green blue", "rain light moss"]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with running_rig(MemoryHarness()) as rig:
        yield rig


async def run(rig: Rig, request: ChatCompletionRequest) -> list[Event]:
    await rig.start_worker()
    generation = await rig.scheduler.submit(Submission(request_id=fresh_name("gen"), request=request))
    return await read(generation)


def fold(events: list[Event]) -> Answer:
    folding = AnswerFold()
    folding.add(events)
    return folding.answer()


async def test_the_best_of_several_comes_back_and_all_are_counted(rig: Rig) -> None:
    parameters = GenerationParameters(best_of=3, seed=0, provider_extensions={"scripted": {"text": TEXTS}})
    events = await run(rig, ChatCompletionRequest(model=rig.model, messages=HELLO, generation_parameters=parameters))
    (sequence,) = fold(events).sequences
    assert sequence.text in TEXTS
    assert sequence.logprobs is None
    assert isinstance(events[-1], GenerationFinished)
    assert events[-1].usage.output_tokens == 9
    assert len([event for event in events if isinstance(event, SequenceDelta)]) == 1


async def test_a_forced_call_with_reasoning_and_log_probabilities(rig: Rig) -> None:
    request = ChatCompletionRequest(
        model=rig.model,
        messages=HELLO,
        generation_parameters=GenerationParameters(provider_extensions={"scripted": {"reasoning": "I must look."}}),
        output=OutputFlags(reasoning=True, logprobs=True, top_logprobs=2, token_ids=True, prompt=True),
        tools=(Tool(name="look"),),
        tool_choice=ToolChoice(mode="required"),
    )
    answer = fold(await run(rig, request))
    (sequence,) = answer.sequences
    assert (sequence.reasoning, sequence.text, sequence.finish_reason) == ("I must look.", "", "tool_calls")
    assert [(call.name, call.arguments) for call in sequence.tool_calls] == [("look", "{}")]
    assert sequence.logprobs is not None
    assert len(sequence.logprobs) == answer.usage.output_tokens
    assert answer.prompts[0].text == "Hello"


async def test_a_form_a_count_and_embeddings(rig: Rig) -> None:
    form = ChatCompletionRequest(model=rig.model, messages=HELLO, response_format=JsonObjectFormat())
    assert fold(await run(rig, form)).sequences[0].text == "{}"
    count = ChatCompletionRequest(model=rig.model, messages=HELLO, count_only=True)
    assert fold(await run(rig, count)).usage.input_tokens == 1
    vectors = ChatCompletionRequest(model=rig.model, prompts=("a", "a"), embedding=EmbeddingParams())
    first, second = fold(await run(rig, vectors)).embeddings
    assert first.vector == second.vector


async def test_who_waits_is_told_how_many_are_ahead(rig: Rig) -> None:
    ahead = await rig.submit(tokens=1)
    request = ChatCompletionRequest(model=rig.model, messages=HELLO, output=OutputFlags(queue_position=True))
    events = await run(rig, request)
    assert events[0] == GenerationQueued(1)
    await read(ahead)
