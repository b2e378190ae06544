"""Text is whole characters, whatever the tokens are."""

from pathlib import Path

import msgspec
import pytest
from tokenizers import Tokenizer

from headrace.worker.engines.base import Engine
from headrace.worker.engines.scripted import Script, ScriptedEngine
from tests.contract.engines.jobs import make_job, read

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.timeout(180),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]

TEXT = "Grüße 👋🏽 an alle: 日本語 und 🇪🇺"


async def test_scripted_text_comes_back_as_it_was() -> None:
    script = Script.parse(f"step_seconds = 0\n[[rules]]\ntext = {msgspec.json.encode(TEXT).decode()}")
    engine = ScriptedEngine(script, slots=1, max_model_tokens=100)
    answer = await read(engine, make_job("text", stop=("日本 ", "語 und 🇪")))
    assert answer.text == "Grüße 👋🏽 an alle: 日本"


@pytest.mark.engine
async def test_a_token_that_ends_inside_a_character_waits_for_the_next(vllm_engine: Engine, tiny_weights: Path) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_weights / "tokenizer.json"))
    # The tiny tokenizer has a token for every byte. Allowed are the two of an é, and the penalty makes them take turns.
    halves = tokenizer.encode("é").ids
    assert len(halves) == 2
    job = make_job(
        "halves",
        max_tokens=24,
        token_ids=True,
        temperature=0.0,
        frequency_penalty=2.0,
        provider_extensions={"vllm": {"allowed_token_ids": halves}},
    )
    answer = await read(vllm_engine, job)
    assert answer.text.count("é") > 6
    # One character broken in two would be two replacement characters more than the whole text decodes to.
    assert answer.text == tokenizer.decode(answer.token_ids[0]).rstrip("\ufffd")
