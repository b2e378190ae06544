"""The demo model on the real engine: a small one that makes sense, with a chat template that knows no tools."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from headrace.gateway.answer import SequenceAnswer
from headrace.models import DEMO_SOURCE, ignore_progress, resolve_weights
from headrace.schema.formats import JsonSchemaFormat, RegexFormat
from headrace.schema.messages import Message
from headrace.schema.request import GenerationParameters, OutputFlags
from headrace.schema.settings import EngineSettings, ModelSettings
from headrace.schema.tools import Tool, ToolChoice
from headrace.worker.engines.base import Engine
from headrace.worker.engines.build import build_engine
from tests.contract.engines.jobs import make_whole_job, read

pytestmark = [
    pytest.mark.engine,
    pytest.mark.asyncio(loop_scope="module"),
    # The first test may fetch the model, and pays for the start of vLLM.
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = Tool(name="get_weather", description="Get the weather of a city", parameters=CITY)


@pytest.fixture(scope="module")
def made_engine(repository: Path) -> Engine:
    """Made outside of the event loop, as in production."""
    weights = resolve_weights(
        DEMO_SOURCE, cache_folder=repository / ".headrace" / "models", on_progress=ignore_progress
    )
    return build_engine(
        ModelSettings(weights=DEMO_SOURCE, slots=4, max_model_tokens=1024),
        name="demo",
        engine=EngineSettings(kind="vllm"),
        weights=weights,
        script_text=None,
    )


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(made_engine: Engine) -> AsyncGenerator[Engine, None]:
    await made_engine.start()
    yield made_engine
    await made_engine.close()


async def ask(engine: Engine, text: str, *, max_tokens: int = 60, **fields: Any) -> SequenceAnswer:
    parameters = GenerationParameters(max_tokens=max_tokens, temperature=0.0)
    job = make_whole_job("demo", messages=(Message("user", text),), generation_parameters=parameters, **fields)
    (answer,) = (await read(engine, job)).fold.answer().sequences
    return answer


async def test_a_forced_call_makes_sense(engine: Engine) -> None:
    choice = ToolChoice(mode="required", names=("get_weather",), parallel=False)
    answer = await ask(engine, "What is the weather in Paris?", tools=(WEATHER,), tool_choice=choice)
    assert answer.finish_reason == "tool_calls"
    (call,) = answer.tool_calls
    assert call.name == "get_weather"
    assert msgspec.json.decode(call.arguments)["city"].startswith("Paris")


async def test_a_schema_is_filled_with_what_was_asked_for(engine: Engine) -> None:
    schema = {
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 120}},
        "required": ["name", "age"],
    }
    answer = await ask(
        engine, "Ann is 31 years old. Give her as JSON.", response_format=JsonSchemaFormat(schema=schema)
    )
    assert answer.finish_reason == "stop"
    assert msgspec.json.decode(answer.text)["name"].startswith("Ann")


async def test_a_pattern_is_filled_with_what_is_true(engine: Engine) -> None:
    form = RegexFormat("The capital of France is [A-Z][a-z]{1,20}\\.")
    answer = await ask(engine, "What is the capital of France?", response_format=form)
    assert answer.text == "The capital of France is Paris."


async def test_bytes_of_tokens_add_up_to_the_text(engine: Engine) -> None:
    flags = OutputFlags(logprobs=True, top_logprobs=2)
    answer = await ask(engine, "Write good morning in Japanese and in Russian, with an emoji 🌅", output=flags)
    assert answer.logprobs is not None
    assert any(entry.raw is not None for entry in answer.logprobs) or answer.text.isascii()
    said = b"".join(entry.raw or entry.text.encode() for entry in answer.logprobs)
    assert said.decode(errors="ignore").startswith(answer.text)
    assert "\ufffd" not in answer.text
