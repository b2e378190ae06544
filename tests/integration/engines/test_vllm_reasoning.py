"""A model that thinks aloud on the real engine: its thoughts come apart, and what is guaranteed comes after them."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
import pytest_asyncio

from headrace.gateway.answer import SequenceAnswer
from headrace.schema.events import Usage
from headrace.schema.formats import JsonSchemaFormat
from headrace.schema.messages import Message
from headrace.schema.request import BeamSearchParams, GenerationParameters, OutputFlags
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.schema.tools import Tool, ToolChoice
from headrace.worker.engines.base import Engine
from headrace.worker.engines.build import build_engine
from tests.contract.engines.jobs import make_whole_job, read
from tests.support.thinking import END, token_of, write_thinking_model

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "minimum": 1, "maximum": 99}, "ok": {"type": "boolean"}},
    "required": ["n", "ok"],
}
TOOL = Tool(name="f", parameters=SCHEMA)
# Which sequences think, and for how long, is chance: it is the same chance in every run.
SEED = 11


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_thinking_model(tmp_path_factory.mktemp("weights") / "thinking")


@pytest.fixture(scope="module")
def made_engine(folder: Path) -> Engine:
    """Made outside of the event loop, as in production."""
    return build_engine(
        ModelSettings(
            weights="tiny:random",
            slots=8,
            max_model_tokens=1024,
            kv_cache_bytes=64 * 2**20,
            reasoning_parser="deepseek_r1",
        ),
        name="thinking",
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
def brief(folder: Path) -> dict[int, float]:
    """A bias towards the end of thoughts: with random weights they would go on for long."""
    return {token_of(folder, END): 5.0}


async def run(
    engine: Engine, bias: dict[int, float], *, max_tokens: int = 300, n: int = 3, **fields: Any
) -> tuple[tuple[SequenceAnswer, ...], Usage]:
    parameters = GenerationParameters(max_tokens=max_tokens, n=n, temperature=1.0, seed=SEED, logit_bias=bias)
    fields.setdefault("generation_parameters", parameters)
    answer = (await read(engine, make_whole_job("thinking", **fields))).fold.answer()
    return answer.sequences, answer.usage


def check(text: str) -> None:
    assert jsonschema_rs.validator_for(SCHEMA).is_valid(msgspec.json.decode(text)), text


async def test_thoughts_come_apart_where_they_are_asked_for(engine: Engine, brief: dict[int, float]) -> None:
    answers, usage = await run(engine, brief, output=OutputFlags(reasoning=True), max_tokens=60, n=8)
    for answer in answers:
        assert END not in answer.reasoning
    assert any(answer.text for answer in answers)
    assert any(answer.reasoning for answer in answers)
    assert 0 < usage.reasoning_tokens < usage.output_tokens


async def test_thoughts_that_nobody_asked_for_are_counted_and_not_told(engine: Engine, brief: dict[int, float]) -> None:
    flags = OutputFlags(token_ids=True, logprobs=True)
    answers, usage = await run(engine, brief, output=flags, max_tokens=40)
    assert usage.reasoning_tokens > 0
    for answer in answers:
        assert answer.reasoning == ""
        assert len(answer.token_ids or ()) == len(answer.logprobs or ())
    # The tokens that end the thoughts are told or not, as they share a step with text.
    assert sum(len(answer.token_ids or ()) for answer in answers) <= usage.output_tokens - usage.reasoning_tokens + 3


async def test_an_answer_may_be_cut_while_it_thinks(engine: Engine, folder: Path) -> None:
    never = {token_of(folder, END): -100.0}
    (answer,), usage = await run(engine, never, output=OutputFlags(reasoning=True), max_tokens=12, n=1)
    assert (answer.text, answer.finish_reason) == ("", "length")
    assert answer.reasoning
    assert usage.reasoning_tokens == 12


@pytest.mark.parametrize("names", [("f",), ()])
async def test_forced_calls_come_after_the_thoughts(
    engine: Engine, brief: dict[int, float], names: tuple[str, ...]
) -> None:
    answers, usage = await run(
        engine,
        brief,
        tools=(TOOL, Tool(name="g", parameters=SCHEMA)),
        tool_choice=ToolChoice(mode="required", names=names, parallel=False),
        output=OutputFlags(reasoning=True),
    )
    assert usage.reasoning_tokens > 0
    for answer in answers:
        assert answer.finish_reason == "tool_calls"
        assert answer.text == ""
        (call,) = answer.tool_calls
        check(call.arguments)


async def test_even_a_model_that_would_rather_stop_makes_its_call(
    engine: Engine, folder: Path, brief: dict[int, float]
) -> None:
    eager = brief | {token_of(folder, "<|end|>"): 50.0}
    choice = ToolChoice(mode="required", names=("f",), parallel=False)
    answers, _ = await run(engine, eager, tools=(TOOL,), tool_choice=choice)
    for answer in answers:
        check(answer.tool_calls[0].arguments)


async def test_the_schema_holds_for_what_comes_after_the_thoughts(engine: Engine, brief: dict[int, float]) -> None:
    answers, _ = await run(engine, brief, response_format=JsonSchemaFormat(schema=SCHEMA))
    for answer in answers:
        assert answer.finish_reason == "stop"
        check(answer.text)


async def test_beams_think_and_keep_to_the_schema(engine: Engine, folder: Path) -> None:
    parameters = GenerationParameters(max_tokens=120, beam_search=BeamSearchParams(width=3))
    answers, _ = await run(
        engine, {}, response_format=JsonSchemaFormat(schema=SCHEMA), generation_parameters=parameters
    )
    for answer in answers:
        if answer.finish_reason == "stop":
            check(answer.text)


async def test_an_answer_that_goes_on_does_not_think_again(engine: Engine, brief: dict[int, float]) -> None:
    extensions = {"vllm": {"chat_template_kwargs": {"continue_final_message": True}}}
    parameters = GenerationParameters(max_tokens=10, provider_extensions=extensions)
    messages = (Message("user", "Hi"), Message("assistant", "The river"))
    (answer,), usage = await run(engine, brief, messages=messages, generation_parameters=parameters)
    assert answer.text
    assert usage.reasoning_tokens == 0
