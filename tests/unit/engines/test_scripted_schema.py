"""The scripted engine serves the whole schema."""

import math
import struct
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from headrace.gateway.answer import SequenceAnswer, ToolCall
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import PromptEchoed, SequenceDelta, Usage
from headrace.schema.formats import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from headrace.schema.messages import Message, ToolCallPart, ToolResultPart
from headrace.schema.request import BeamSearchParams, EmbeddingParams, GenerationParameters, OutputFlags
from headrace.schema.tools import Tool, ToolChoice
from headrace.worker.engines.scripted import Rule, Script, ScriptedCall, ScriptedEngine
from tests.contract.engines.jobs import Answer, make_whole_job, read

CITY: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string", "minLength": 1}},
    "required": ["city"],
}
WEATHER = Tool(name="get_weather", parameters=CITY)
CLOCK = Tool(name="get_time")
CALLS = (
    ScriptedCall(name="get_weather", arguments={"city": "Bonn", "unit": "C"}),
    ScriptedCall(name="get_time", arguments='{"zone":  "CET"}'),
)
PRETTY = '{"zone":  "CET"}'


async def play(*rules: Rule, name: str = "a", parameters: GenerationParameters | None = None, **fields: Any) -> Answer:
    engine = ScriptedEngine(Script(step_seconds=0.0, rules=rules), slots=4, max_model_tokens=1000)
    return await read(
        engine, make_whole_job(name, generation_parameters=parameters or GenerationParameters(), **fields)
    )


def only(answer: Answer) -> SequenceAnswer:
    (sequence,) = answer.fold.answer().sequences
    return sequence


def deltas(answer: Answer) -> list[SequenceDelta]:
    return [event for step in answer.steps for event in step if isinstance(event, SequenceDelta)]


async def test_reasoning_comes_first_and_only_where_it_is_asked_for() -> None:
    rule = Rule(reasoning="Let me think about it.", text="It is so.")
    answer = await play(rule, output=OutputFlags(reasoning=True))
    assert (only(answer).reasoning, only(answer).text) == ("Let me think about it.", "It is so.")
    assert answer.usage == Usage(4, 8, reasoning_tokens=5)
    hidden = await play(rule)
    assert (only(hidden).reasoning, only(hidden).text) == ("", "It is so.")
    assert hidden.usage == answer.usage


async def test_calls_are_played_where_the_request_has_their_tools() -> None:
    rule = Rule(text="Let me look.", tool_calls=CALLS)
    answer = await play(rule, tools=(WEATHER, CLOCK))
    sequence = only(answer)
    assert (sequence.text, sequence.finish_reason) == ("Let me look.", "tool_calls")
    assert [(call.name, call.arguments) for call in sequence.tool_calls] == [
        ("get_weather", '{"city":"Bonn","unit":"C"}'),
        ("get_time", PRETTY),
    ]
    assert len({call.id for call in sequence.tool_calls}) == 2
    assert all(len(call.id) == 29 for call in sequence.tool_calls)
    pieces = [call for delta in deltas(answer) for call in delta.tool_calls]
    assert len(pieces) > 8
    assert [piece.name for piece in pieces if piece.id] == ["get_weather", "get_time"]
    assert only(await play(rule, tools=(CLOCK,))).tool_calls[0].name == "get_time"
    for tools, choice in (((), ToolChoice()), ((WEATHER,), ToolChoice(mode="none"))):
        without = only(await play(rule, tools=tools, tool_choice=choice))
        assert (without.tool_calls, without.finish_reason) == ((), "stop")


async def test_call_ids_are_the_same_for_the_same_request_only() -> None:
    async def ids(name: str) -> list[str]:
        parameters = GenerationParameters(n=2)
        answer = await play(Rule(tool_calls=CALLS), name=name, parameters=parameters, tools=(WEATHER, CLOCK))
        return [call.id for sequence in answer.fold.answer().sequences for call in sequence.tool_calls]

    assert await ids("a") == await ids("a")
    assert len({*(await ids("a")), *(await ids("b"))}) == 8


async def test_without_parallel_there_is_one_call() -> None:
    answer = await play(Rule(tool_calls=CALLS), tools=(WEATHER, CLOCK), tool_choice=ToolChoice(parallel=False))
    assert [call.name for call in only(answer).tool_calls] == ["get_weather"]
    assert only(answer).text == ""


async def test_what_a_tool_answered_is_not_asked_again() -> None:
    conversation = (
        Message("user", "How is the weather?"),
        Message("assistant", (ToolCallPart(id="call_1", name="get_weather", arguments="{}"),)),
        Message("tool", (ToolResultPart(tool_call_id="call_1", content="rain and wind"),)),
    )
    answer = await play(
        Rule(when="weather", text="As they say.", tool_calls=CALLS), tools=(WEATHER,), messages=conversation
    )
    assert (only(answer).text, only(answer).tool_calls) == ("As they say.", ())
    assert answer.input_tokens == 7


@pytest.mark.parametrize(
    ("calls", "choice", "names"),
    [
        ((), ToolChoice(mode="required"), ["get_weather"]),
        ((), ToolChoice(mode="required", names=("get_time",)), ["get_time"]),
        (CALLS, ToolChoice(mode="required"), ["get_weather", "get_time"]),
        (CALLS, ToolChoice(mode="required", names=("get_time",)), ["get_time"]),
        ((ScriptedCall(name="get_weather", arguments={"city": 3}),), ToolChoice(mode="required"), ["get_weather"]),
        ((ScriptedCall(name="get_weather", arguments="not json"),), ToolChoice(mode="required"), ["get_weather"]),
    ],
)
async def test_a_forced_call_is_made_and_fits_its_tool(
    calls: tuple[ScriptedCall, ...], choice: ToolChoice, names: list[str]
) -> None:
    answer = await play(Rule(text="No.", tool_calls=calls), tools=(WEATHER, CLOCK), tool_choice=choice)
    sequence = only(answer)
    assert [call.name for call in sequence.tool_calls] == names
    assert (sequence.text, sequence.finish_reason) == ("", "tool_calls")
    for call in sequence.tool_calls:
        _check_call(call)


def _check_call(call: ToolCall) -> None:
    arguments = msgspec.json.decode(call.arguments)
    jsonschema_rs.validate(CITY if call.name == "get_weather" else {"type": "object"}, arguments)


async def test_a_call_that_the_length_cuts_ends_by_length() -> None:
    parameters = GenerationParameters(max_tokens=3)
    sequence = only(await play(Rule(tool_calls=CALLS), parameters=parameters, tools=(WEATHER,)))
    assert sequence.finish_reason == "length"
    assert sequence.tool_calls[0].arguments == '{"city'


async def test_a_stop_text_ends_before_the_calls() -> None:
    parameters = GenerationParameters(stop=("look",))
    rule = Rule(reasoning="look at it", text="Let me look.", tool_calls=CALLS)
    sequence = only(await play(rule, parameters=parameters, tools=(WEATHER,)))
    assert (sequence.text, sequence.tool_calls, sequence.finish_reason) == ("Let me ", (), "stop")


@pytest.mark.parametrize(
    ("text", "response_format", "expected"),
    [
        ('{"a": 1}', JsonObjectFormat(), '{"a": 1}'),
        ("hello", JsonObjectFormat(), "{}"),
        ("[]", JsonObjectFormat(), "{}"),
        ('{"city": "Bonn"}', JsonSchemaFormat(schema=CITY), '{"city": "Bonn"}'),
        ('{"city": ""}', JsonSchemaFormat(schema=CITY), '{"city":"x"}'),
        ("no", ChoiceFormat(("yes", "no")), "no"),
        ("perhaps", ChoiceFormat(("yes", "no")), "yes"),
        ("hello", RegexFormat(r"\d{3}"), "000"),
    ],
)
async def test_the_answer_has_the_form(text: str, response_format: ResponseFormat, expected: str) -> None:
    assert only(await play(Rule(text=text), response_format=response_format)).text == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": RegexFormat("(a|b)+")}, "response_format.pattern"),
        ({"response_format": GrammarFormat("root ::= x")}, "response_format.grammar"),
        ({"response_format": JsonSchemaFormat(schema={"not": {}})}, "response_format.schema"),
        (
            {"response_format": JsonSchemaFormat(schema={"type": "array", "items": 3, "minItems": 1})},
            "response_format.schema",
        ),
        (
            {
                "tools": (CLOCK, Tool(name="x", parameters={"not": {}})),
                "tool_choice": ToolChoice(mode="required", names=("x",)),
            },
            "tools[1].parameters",
        ),
    ],
)
async def test_what_it_can_not_make_is_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(HeadraceError) as caught:
        await play(**fields)
    assert (caught.value.code, caught.value.param) == (ErrorCode.UNSUPPORTED_PARAMETER, param)


async def test_every_prompt_has_its_sequences() -> None:
    rules = (Rule(when="first", text=("1a", "1b")), Rule(when="second", text=("2a", "2b")), Rule(text=("3a", "3b")))
    parameters = GenerationParameters(n=2, seed=0)
    answer = await play(*rules, parameters=parameters, prompts=("the first", "a second one", (7, 8)))
    assert answer.texts == {0: "1a", 1: "1b", 2: "2a", 3: "2b", 4: "3a", 5: "3b"}
    assert answer.usage == Usage(7, 6)


async def test_prompts_come_back_with_log_probabilities() -> None:
    output = OutputFlags(prompt=True, prompt_logprobs=1)
    answer = await play(Rule(text="ok"), prompts=(" one two ", (7, 8)), output=output)
    first, second = answer.fold.answer().prompts
    assert first.text == " one two "
    assert second.token_ids == (7, 8)
    for prompt in (first, second):
        assert prompt.logprobs is not None
        assert len(prompt.logprobs) == len(prompt.token_ids) == 2
        assert prompt.logprobs[0] is None
        assert prompt.logprobs[1] is not None
        assert len(prompt.logprobs[1].top) == 1
    assert (await play(Rule(text="ok"), output=OutputFlags(prompt=True))).fold.answer().prompts == (
        PromptEchoed(0, "Tell me about water", answer_ids("Tell me about water")),
    )


def answer_ids(text: str) -> tuple[int, ...]:
    from headrace.worker.engines.scripted.tokens import make_token_id, split_prompt

    return tuple(make_token_id(token) for token in split_prompt(text))


async def test_log_probabilities_belong_to_the_tokens() -> None:
    answer = only(
        await play(Rule(text="one two one"), output=OutputFlags(logprobs=True, top_logprobs=2, token_ids=True))
    )
    assert answer.logprobs is not None
    assert answer.token_ids == tuple(item.token_id for item in answer.logprobs)
    assert "".join(item.text for item in answer.logprobs) == answer.text
    for item in answer.logprobs:
        assert item.raw == item.text.encode()
        assert [other.logprob for other in item.top] == sorted((other.logprob for other in item.top), reverse=True)
        assert item.top[0].token_id == item.token_id
        assert 0 > item.logprob > item.top[1].logprob
    assert only(await play(Rule(text="one"))).logprobs is None


async def test_counting_generates_nothing() -> None:
    answer = await play(Rule(text="never"), count_only=True)
    assert (answer.texts, answer.usage) == ({}, Usage(4, 0))


async def test_equal_inputs_have_equal_vectors_of_length_one() -> None:
    answer = await play(prompts=("a b", "a c", "a b", (5, 6)), embedding=EmbeddingParams(dimensions=8))
    vectors = [struct.unpack("<8f", item.vector) for item in answer.fold.answer().embeddings]
    assert vectors[0] == vectors[2] != vectors[1]
    assert all(math.hypot(*vector) == pytest.approx(1.0) for vector in vectors)
    assert (answer.texts, answer.usage) == ({}, Usage(8, 0))


async def test_an_input_of_an_embedding_must_fit() -> None:
    with pytest.raises(HeadraceError) as caught:
        await play(prompts=("word " * 1001,), embedding=EmbeddingParams())
    assert (caught.value.code, caught.value.param) == (ErrorCode.CONTEXT_LENGTH_EXCEEDED, "prompts")


async def test_the_least_and_the_end_of_the_tokens() -> None:
    short = Rule(text="one two")
    assert (await play(short, parameters=GenerationParameters(min_tokens=5))).usage == Usage(4, 5)
    longer = await play(short, parameters=GenerationParameters(ignore_eos=True, max_tokens=9))
    assert longer.usage == Usage(4, 9)
    assert longer.finished[0].finish_reason == "length"


async def test_beams_are_always_the_same() -> None:
    parameters = GenerationParameters(n=2, beam_search=BeamSearchParams(width=3))
    assert (await play(Rule(text=("a", "b", "c")), parameters=parameters)).texts == {0: "a", 1: "b"}


async def test_a_script_has_thoughts_and_calls() -> None:
    script = Script.parse(
        '[[rules]]\nreasoning = "Hm."\ntool_calls = [{name = "look", arguments = {at = "it"}}, {name = "b"}]\n'
    )
    answer = script.find_answer("")
    assert (answer.reasoning, [call.to_json() for call in answer.tool_calls]) == ("Hm.", ['{"at":"it"}', "{}"])


async def test_a_request_may_bring_calls_of_its_own() -> None:
    extension: dict[str, Any] = {"scripted": {"tool_calls": [{"name": "get_time", "arguments": {}}]}}
    parameters = GenerationParameters(provider_extensions=extension)
    assert only(await play(Rule(text="No."), parameters=parameters, tools=(CLOCK,))).tool_calls[0].name == "get_time"
