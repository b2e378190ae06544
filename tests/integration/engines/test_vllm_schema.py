"""The real engine serves the whole schema: forced calls, response formats, raw prompts, log probabilities.

The model has random weights, which is the hardest case for what is guaranteed: it would say anything.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import pytest_asyncio

from headrace.gateway.answer import SequenceAnswer
from headrace.models import write_tiny_model
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import GenerationStarted, PromptEchoed
from headrace.schema.formats import (
    ChoiceFormat,
    GrammarFormat,
    JsonObjectFormat,
    JsonSchemaFormat,
    RegexFormat,
    ResponseFormat,
)
from headrace.schema.messages import ImagePart, Message, TextPart, ToolCallPart, ToolResultPart
from headrace.schema.request import BeamSearchParams, EmbeddingParams, GenerationParameters, OutputFlags
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.schema.tools import Tool, ToolChoice
from headrace.worker.engines.base import Engine
from headrace.worker.engines.build import build_engine
from tests.contract.engines.jobs import Answer, make_whole_job, read
from tests.support.thinking import token_of

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    # The first test pays for the start of vLLM.
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

SCHEMAS: dict[str, dict[str, Any]] = {
    "nothing": {"type": "object", "properties": {}},
    "one text": {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]},
    "short text": {"type": "object", "properties": {"q": {"type": "string", "maxLength": 9}}, "required": ["q"]},
    "no type": {"properties": {"q": {"enum": ["a", 1, None]}}, "required": ["q"]},
    "numbers": {
        "type": "object",
        "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 20}, "x": {"type": "number", "minimum": 0}},
        "required": ["n", "x"],
    },
    "list": {
        "type": "object",
        "properties": {"tags": {"type": "array", "items": {"type": "string", "maxLength": 5}, "maxItems": 3}},
        "required": ["tags"],
    },
    "closed": {"type": "object", "properties": {"a": {"type": "boolean"}}, "additionalProperties": False},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 1, "maxProperties": 3},
    "union": {
        "type": "object",
        "properties": {"v": {"anyOf": [{"type": "integer"}, {"type": "null"}]}},
        "required": ["v"],
    },
    "reference": {
        "type": "object",
        "$defs": {"unit": {"enum": ["celsius", "fahrenheit"]}},
        "properties": {"unit": {"$ref": "#/$defs/unit", "description": "of the temperature"}},
        "required": ["unit"],
    },
    "formats": {
        "type": "object",
        "properties": {
            "day": {"type": "string", "format": "date"},
            "id": {"type": "string", "pattern": "^[A-Z]{2}\\d+$"},
        },
        "required": ["day", "id"],
    },
    "nested": {
        "type": "object",
        "properties": {
            "a": {"properties": {"b": {"type": "array", "items": {"type": "null"}}}, "required": ["b"]},
        },
        "required": ["a"],
    },
    "recursion": {
        "type": "object",
        "$defs": {
            "t": {"properties": {"t": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/t"}]}}, "required": ["t"]},
        },
        "properties": {"t": {"$ref": "#/$defs/t"}},
        "required": ["t"],
    },
    'odd names "é"': {"type": "object", "properties": {'a "b"\n': {"const": "é\\"}}, "required": ['a "b"\n']},
}
WEATHER = Tool(name="get_weather", description="The weather", parameters=SCHEMAS["reference"])
MAX_MODEL_TOKENS = 2048


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("weights") / "tiny")


@pytest.fixture(scope="module")
def made_engine(folder: Path) -> Engine:
    """Made outside of the event loop, as in production."""
    return build_engine(
        ModelSettings(weights="tiny:random", slots=8, max_model_tokens=MAX_MODEL_TOKENS, kv_cache_bytes=64 * 2**20),
        name="tiny",
        engine=EngineSettings(kind="vllm", cpu_threads=1),
        weights=folder,
        script_text=None,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(made_engine: Engine) -> AsyncGenerator[Engine, None]:
    await made_engine.start()
    yield made_engine
    await made_engine.close()


@pytest.fixture(scope="module")
def endings(folder: Path) -> dict[int, float]:
    """A bias towards what ends texts and lists: with random weights they would go on for long."""
    return {token_of(folder, piece): 6.0 for piece in '"]}'}


def wild(endings: dict[int, float], **more: Any) -> GenerationParameters:
    given: dict[str, Any] = {"temperature": 1.0, "max_tokens": 400, "logit_bias": endings} | more
    return GenerationParameters(**given)


async def answers_of(engine: Engine, name: str, **fields: Any) -> tuple[SequenceAnswer, ...]:
    answer = await read(engine, make_whole_job(name, **fields))
    return answer.fold.answer().sequences


async def refusal_of(engine: Engine, **fields: Any) -> HeadraceError:
    """Return why a job is refused, which must be before it says anything."""
    async with aclosing(engine.generate(make_whole_job("refused", **fields))) as steps:
        with pytest.raises(HeadraceError) as caught:
            await anext(steps)
    return caught.value


def check_arguments(schema: dict[str, Any], arguments: str) -> None:
    value = msgspec.json.decode(arguments)
    assert jsonschema_rs.validator_for(schema).is_valid(value), arguments


@pytest.mark.parametrize("name", SCHEMAS)
async def test_the_arguments_of_a_forced_tool_are_valid(engine: Engine, name: str, endings: dict[int, float]) -> None:
    tool = Tool(name="f", parameters=SCHEMAS[name])
    choice = ToolChoice(mode="required", names=("f",), parallel=False)
    answers = await answers_of(
        engine, name, tools=(tool,), tool_choice=choice, generation_parameters=wild(endings, n=3)
    )
    assert len(answers) == 3
    for answer in answers:
        assert answer.finish_reason == "tool_calls"
        assert answer.text == ""
        (call,) = answer.tool_calls
        assert call.name == "f"
        check_arguments(SCHEMAS[name], call.arguments)
    assert len({answer.tool_calls[0].id for answer in answers}) == 3


async def test_required_calls_are_of_allowed_tools_with_valid_arguments(
    engine: Engine, endings: dict[int, float]
) -> None:
    tools = tuple(Tool(name=f"tool {i}", parameters=schema) for i, schema in enumerate(SCHEMAS.values()))
    allowed = tuple(tool.name for tool in tools[2:6])
    answers = await answers_of(
        engine,
        "required",
        messages=(Message("user", "x"),),
        tools=tools,
        tool_choice=ToolChoice(mode="required", names=allowed),
        generation_parameters=wild(endings, n=3, seed=4, max_tokens=900),
    )
    whole = [answer for answer in answers if answer.finish_reason == "tool_calls"]
    assert whole
    schemas = {tool.name: tool.parameters or {} for tool in tools}
    for answer in whole:
        assert answer.tool_calls
        for call in answer.tool_calls:
            assert call.name in allowed
            check_arguments(schemas[call.name], call.arguments)


async def test_one_of_several_tools_without_schemas(engine: Engine, endings: dict[int, float]) -> None:
    answers = await answers_of(
        engine,
        "one",
        tools=(Tool(name="a"), Tool(name="b")),
        tool_choice=ToolChoice(mode="required", parallel=False),
        generation_parameters=wild(endings, n=4),
    )
    whole = [answer for answer in answers if answer.finish_reason != "length"]
    assert whole
    for answer in whole:
        (call,) = answer.tool_calls
        assert call.name in ("a", "b")
        assert isinstance(msgspec.json.decode(call.arguments), dict)


async def test_a_second_attempt_gives_calls_the_same_ids(engine: Engine) -> None:
    fields: dict[str, Any] = {
        "tools": (WEATHER,),
        "tool_choice": ToolChoice(mode="required", names=("get_weather",), parallel=False),
        "generation_parameters": GenerationParameters(max_tokens=60, temperature=0.0),
    }
    first, second = [await answers_of(engine, "same", **fields) for _ in range(2)]
    assert first == second
    assert first[0].tool_calls[0].id.startswith("call_")


async def test_stop_texts_do_not_cut_forced_calls(engine: Engine) -> None:
    choice = ToolChoice(mode="required", names=("get_weather",), parallel=False)
    parameters = GenerationParameters(max_tokens=60, stop=("unit", "e", "{"))
    (answer,) = await answers_of(
        engine, "stops", tools=(WEATHER,), tool_choice=choice, generation_parameters=parameters
    )
    check_arguments(SCHEMAS["reference"], answer.tool_calls[0].arguments)


async def test_a_strict_tool_is_called_as_its_schema_says_or_not_at_all(engine: Engine, folder: Path) -> None:
    strict = Tool(name="f", parameters=SCHEMAS["numbers"], strict=True)
    # It never calls anything by itself: allow only what a call needs.
    form = '<tool_call>\n{"name": "f", "arguments": {"n": 0123456789, "x": .}}</'
    alphabet = sorted({token_of(folder, piece) for piece in form.replace(" ", "\u0120").replace("\n", "\u010a")})
    bias = dict.fromkeys(alphabet, 30.0)
    answers = await answers_of(
        engine,
        "strict",
        tools=(strict,),
        generation_parameters=GenerationParameters(max_tokens=300, n=8, seed=1, logit_bias=bias),
    )
    for answer in answers:
        if answer.finish_reason == "tool_calls":
            for call in answer.tool_calls:
                check_arguments(SCHEMAS["numbers"], call.arguments)


@pytest.mark.parametrize(("beginning", "reason"), [("<", "tool_calls"), ("{", "stop")])
async def test_tools_beside_a_format_give_calls_or_that_format(
    engine: Engine, endings: dict[int, float], folder: Path, beginning: str, reason: str
) -> None:
    answers = await answers_of(
        engine,
        "either",
        tools=(msgspec.structs.replace(WEATHER, strict=True),),
        response_format=JsonSchemaFormat(schema=SCHEMAS["closed"]),
        generation_parameters=wild(endings | {token_of(folder, beginning): 20.0}, n=4),
    )
    for answer in answers:
        assert answer.finish_reason == reason
        if answer.finish_reason == "stop":
            check_arguments(SCHEMAS["closed"], answer.text)
        for call in answer.tool_calls:
            check_arguments(SCHEMAS["reference"], call.arguments)


@pytest.mark.parametrize("name", SCHEMAS)
async def test_text_meets_the_schema_it_was_given(engine: Engine, name: str, endings: dict[int, float]) -> None:
    form = JsonSchemaFormat(schema=SCHEMAS[name])
    answers = await answers_of(engine, name, response_format=form, generation_parameters=wild(endings, n=2))
    for answer in answers:
        assert answer.finish_reason == "stop"
        check_arguments(SCHEMAS[name], answer.text)


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (RegexFormat("\\d{3}-[a-f]{4}"), "[0-9]{3}-[a-f]{4}"),
        (ChoiceFormat(("yes", 'no "x"')), 'yes|no "x"'),
        (GrammarFormat('root ::= "a" | "b" root'), "b*a"),
        (JsonObjectFormat(), "\\{(?s:.*)\\}"),
    ],
)
async def test_other_formats(engine: Engine, form: ResponseFormat, expected: str, endings: dict[int, float]) -> None:
    answers = await answers_of(engine, "form", response_format=form, generation_parameters=wild(endings, n=2))
    check = jsonschema_rs.validator_for({"type": "string", "pattern": f"^(?:{expected.replace('(?s:.*)', '[^$]*')})$"})
    for answer in answers:
        assert answer.finish_reason == "stop"
        assert check.is_valid(answer.text), answer.text
        if isinstance(form, JsonObjectFormat):
            assert isinstance(msgspec.json.decode(answer.text), dict)


async def test_an_answer_that_is_cut_off_says_so(engine: Engine) -> None:
    form = JsonSchemaFormat(schema=SCHEMAS["numbers"])
    (answer,) = await answers_of(
        engine, "cut", response_format=form, generation_parameters=GenerationParameters(max_tokens=2)
    )
    assert answer.finish_reason == "length"


async def test_beams_keep_to_the_schema(engine: Engine) -> None:
    form = JsonSchemaFormat(schema=SCHEMAS["closed"])
    parameters = GenerationParameters(max_tokens=60, n=2, beam_search=BeamSearchParams(width=3))
    for answer in await answers_of(engine, "beams", response_format=form, generation_parameters=parameters):
        check_arguments(SCHEMAS["closed"], answer.text)


def schema_of(**schema: Any) -> dict[str, Any]:
    return {"response_format": JsonSchemaFormat(schema=schema)}


def forced(*tools: Tool) -> dict[str, Any]:
    return {"tools": tools, "tool_choice": ToolChoice(mode="required")}


def parameters_of(form: ResponseFormat | None = None, **parameters: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"generation_parameters": GenerationParameters(**parameters)}
    return fields if form is None else fields | {"response_format": form}


def grammar_of(text: str) -> dict[str, Any]:
    return {"response_format": GrammarFormat(text)}


IMAGE = Message("user", (TextPart("x"), ImagePart(url="data:image/png;base64,AA")))
NO_TOKEN = {"vllm": {"stop_token_ids": [70_000]}}
EXTENSION = "generation_parameters.provider_extensions.vllm"


@pytest.mark.parametrize(
    ("fields", "param", "reason"),
    [
        (schema_of(type="array", uniqueItems=True), "response_format.schema", "uniqueItems"),
        (schema_of(properties={"a": {"not": {}}}), "response_format.schema", "at properties.a"),
        ({"response_format": RegexFormat("a(?=b)")}, "response_format.pattern", "looks around itself"),
        (grammar_of("root ::= foo"), "response_format.grammar", "foo"),
        (grammar_of('root ::= root root | "a" | ""'), "response_format.grammar", "too long"),
        (grammar_of("root ::= " + "(" * 3000 + '"a"' + ")" * 3000), "response_format.grammar", ""),
        (grammar_of("\U0001f600 ::= \ufffd"), "response_format.grammar", ""),
        (forced(Tool(name="a"), Tool(name="b", parameters={"if": {}})), "tools[1].parameters", "if"),
        (forced(Tool(name="a", parameters={"type": "array"})), "tools[0].parameters", "type"),
        (parameters_of(JsonObjectFormat(), min_tokens=3), "generation_parameters.min_tokens", ""),
        (parameters_of(JsonObjectFormat(), ignore_eos=True), "generation_parameters.ignore_eos", ""),
        (parameters_of(logit_bias={70_000: 1.0}), "generation_parameters.logit_bias", "vocab"),
        (parameters_of(provider_extensions=NO_TOKEN), f"{EXTENSION}.stop_token_ids", "vocab"),
        (parameters_of(min_tokens=MAX_MODEL_TOKENS), "generation_parameters.min_tokens", ""),
        ({"messages": (IMAGE,)}, "messages[0].content[1]", "text only"),
        ({"prompts": ((5, 6), (7, 70_000))}, "prompts[1]", "no token 70000"),
        ({"prompts": ("x", "water " * MAX_MODEL_TOKENS)}, "prompts[1]", "leaves no room"),
        ({"prompts": ("x",), "embedding": EmbeddingParams()}, "embedding", "no embeddings"),
    ],
)
async def test_what_can_not_be_done_is_refused_by_name_before_anything_is_said(
    engine: Engine, fields: dict[str, Any], param: str, reason: str
) -> None:
    error = await refusal_of(engine, **fields)
    assert error.param == param
    assert reason in error.message
    assert error.answer.status == 400


async def test_the_engine_lives_through_all_of_that_at_once(engine: Engine) -> None:
    bad: list[ResponseFormat] = [
        *(GrammarFormat("root ::= " + f"[^{letter}]{{0,900}} " * 30) for letter in "abc"),
        *(RegexFormat(pattern) for pattern in ("(a?){900}a{900}", "((a{1,30}){1,30}){1,20}", "(.*a.{0,200}.*){0,50}")),
        JsonSchemaFormat(schema={"enum": [f"value {i}" for i in range(5000)]}),
        JsonSchemaFormat(schema={"type": "object", "properties": {f"p{i}": {} for i in range(500)}}),
    ]
    parameters = GenerationParameters(max_tokens=5)
    attacks = [
        answers_of(engine, f"bad-{i}", response_format=form, generation_parameters=parameters)
        for i, form in enumerate(bad)
    ]
    good = [read(engine, make_whole_job(f"good-{i}", generation_parameters=parameters)) for i in range(5)]
    results = await asyncio.gather(*attacks, *good, return_exceptions=True)
    for result in results:
        assert not isinstance(result, BaseException) or getattr(result, "code", None) is ErrorCode.INVALID_REQUEST
    assert not any(isinstance(result, BaseException) for result in results[-len(good) :])
    assert (await read(engine, make_whole_job("after", generation_parameters=parameters))).text


async def test_prompts_of_all_kinds_make_one_job(engine: Engine, folder: Path) -> None:
    token = token_of(folder, "\u0120water")
    answer = await read(
        engine,
        make_whole_job(
            "prompts",
            prompts=("The water", (token, token, token)),
            output=OutputFlags(prompt=True, prompt_logprobs=2, logprobs=True, top_logprobs=3, token_ids=True),
            generation_parameters=GenerationParameters(max_tokens=4, n=2, seed=3),
        ),
    )
    whole = answer.fold.answer()
    assert [sequence.index for sequence in whole.sequences] == [0, 1, 2, 3]
    assert [echo.text for echo in whole.prompts] == ["The water", " water water water"]
    assert answer.input_tokens == sum(len(echo.token_ids) for echo in whole.prompts) == whole.usage.input_tokens
    assert whole.usage.output_tokens == 16
    for echo in whole.prompts:
        assert echo.logprobs is not None
        assert echo.logprobs[0] is None
        shown = [entry for entry in echo.logprobs if entry is not None]
        assert [entry.token_id for entry in shown] == list(echo.token_ids[1:])
        assert all(len(entry.top) == 2 and entry.logprob <= 0 for entry in shown)
    for sequence in whole.sequences:
        assert sequence.logprobs is not None
        assert [entry.token_id for entry in sequence.logprobs] == list(sequence.token_ids or ())
        assert all(entry.top[0].logprob >= entry.top[-1].logprob for entry in sequence.logprobs)
        said = b"".join(entry.raw or entry.text.encode() for entry in sequence.logprobs)
        assert said.decode(errors="replace").startswith(sequence.text)


async def test_a_prompt_is_told_before_its_sequences(engine: Engine) -> None:
    answer = await read(
        engine,
        make_whole_job(
            "echo",
            prompts=("a", "b"),
            output=OutputFlags(prompt=True),
            generation_parameters=GenerationParameters(max_tokens=2),
        ),
    )
    assert [type(event) for event in answer.steps[0]] == [GenerationStarted]
    assert [type(event) for event in answer.steps[1]] == [PromptEchoed, PromptEchoed]


async def test_counting_says_how_many_tokens_and_nothing_else(engine: Engine) -> None:
    answer = await read(engine, make_whole_job("count", count_only=True, tools=(WEATHER,)))
    plain = await read(engine, make_whole_job("count", count_only=True))
    assert answer.texts == {}
    assert answer.input_tokens > plain.input_tokens > 0
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (answer.input_tokens, 0)


async def test_the_likeliest_answer_several_times_is_the_same_one(engine: Engine) -> None:
    parameters = GenerationParameters(max_tokens=6, n=3, temperature=0.0)
    answer = await read(engine, make_whole_job("greedy", generation_parameters=parameters))
    assert len(answer.texts) == 3
    assert len(set(answer.texts.values())) == 1
    assert answer.usage is not None
    assert answer.usage.output_tokens == 18


async def test_a_seed_repeats_every_sequence_and_each_is_its_own(engine: Engine) -> None:
    parameters = GenerationParameters(max_tokens=12, n=3, temperature=1.0, seed=11)

    async def run(name: str) -> Answer:
        return await read(engine, make_whole_job(name, generation_parameters=parameters))

    first, second = await run("a"), await run("b")
    assert first.texts == second.texts
    assert len(set(first.texts.values())) == 3


async def test_least_tokens_come_before_the_end(engine: Engine, folder: Path) -> None:
    end = {token_of(folder, "<|end|>"): 100.0}
    short = GenerationParameters(max_tokens=20, logit_bias=end)
    long = msgspec.structs.replace(short, min_tokens=7)
    counts = [
        (await read(engine, make_whole_job("short", generation_parameters=parameters))).usage
        for parameters in (short, long)
    ]
    assert [usage and usage.output_tokens for usage in counts] == [1, 8]


async def test_leaving_a_job_of_several_prompts_frees_the_engine(engine: Engine) -> None:
    for i in range(6):
        job = make_whole_job(
            f"left-{i}", prompts=("a", "b", "c"), generation_parameters=GenerationParameters(max_tokens=900, n=2)
        )
        async with aclosing(engine.generate(job)) as steps:
            for _ in range(3):
                await anext(steps)
    job = make_whole_job("after", generation_parameters=GenerationParameters(max_tokens=3))
    async with asyncio.timeout(5):
        assert (await read(engine, job)).text


async def test_an_answer_goes_on_where_the_last_message_ends(engine: Engine) -> None:
    messages = (Message("user", "Tell me"), Message("assistant", "Once upon"))
    goes_on = {"vllm": {"chat_template_kwargs": {"continue_final_message": True}}}
    ends: list[str] = []
    for extensions in ({}, goes_on):
        answer = await read(
            engine,
            make_whole_job(
                "prefill",
                messages=messages,
                output=OutputFlags(prompt=True),
                generation_parameters=GenerationParameters(max_tokens=1, provider_extensions=extensions),
            ),
        )
        ends.append(answer.fold.answer().prompts[0].text[-20:])
    assert ends[0].endswith("assistant\n")
    assert ends[1].endswith("Once upon")


async def test_a_turn_with_tools_reaches_a_model_whose_template_knows_none(engine: Engine) -> None:
    call = ToolCallPart(id="c1", name="get_weather", arguments='{"unit":"celsius"}')
    answer = await read(
        engine,
        make_whole_job(
            "turn",
            messages=(
                Message("user", "Weather?"),
                Message("assistant", (call,)),
                Message("tool", (ToolResultPart(tool_call_id="c1", content="sunny"),)),
            ),
            tools=(WEATHER,),
            output=OutputFlags(prompt=True),
            generation_parameters=GenerationParameters(max_tokens=1),
        ),
    )
    prompt = answer.fold.answer().prompts[0].text
    assert '"name":"get_weather"' in prompt.split("</tools>", maxsplit=1)[0]
    assert '<tool_call>\n{"name":"get_weather","arguments":{"unit":"celsius"}}\n</tool_call>' in prompt
    assert "<tool_response>\nsunny\n</tool_response>" in prompt
