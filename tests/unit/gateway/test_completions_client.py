"""The official client asks for completions and gets what it expects."""

import openai
import pytest

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    GenerationFailed,
    GenerationFinished,
    PromptEchoed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
)
from tests.unit.gateway.completions import token
from tests.unit.gateway.doubles import HELLO, USAGE, ScriptedSource, make_app, open_client
from tests.unit.gateway.openai_sdk import open_openai

ECHO = (
    (PromptEchoed(0, "Once", (1, 2), (None, token("ce", -0.25))), SequenceStarted(0)),
    (SequenceDelta(0, " upon", (3,), (token(" upon"),)), SequenceDelta(0, " a", (4,), (token(" a"),))),
    (SequenceFinished(0, "length"), GenerationFinished(USAGE)),
)


async def test_a_whole_answer() -> None:
    source = ScriptedSource(*ECHO)
    async with open_openai(make_app(source)) as client:
        answer = await client.completions.create(
            model="demo", prompt="Once", echo=True, logprobs=1, max_tokens=2, extra_body={"min_tokens": 2}
        )
    (choice,) = answer.choices
    assert (choice.text, choice.finish_reason) == ("Once upon a", "length")
    assert choice.logprobs is not None
    assert choice.logprobs.tokens == ["On", "ce", " upon", " a"]
    assert choice.logprobs.text_offset == [0, 2, 4, 9]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 12
    assert answer.id.startswith("cmpl-")
    assert source.submissions[0].request.generation_parameters.min_tokens == 2


async def test_a_stream() -> None:
    async with open_openai(make_app(ScriptedSource(*ECHO))) as client:
        stream = await client.completions.create(
            model="demo", prompt="Once", echo=True, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == "Once upon a"
    assert chunks[-2].choices[0].finish_reason == "length"
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert len({chunk.id for chunk in chunks}) == 1


async def test_token_ids_of_several_prompts() -> None:
    source = ScriptedSource(*HELLO)
    async with open_openai(make_app(source)) as client:
        await client.completions.create(model="demo", prompt=[[1, 2], [3]])
    assert source.submissions[0].request.prompts == ((1, 2), (3,))


async def test_a_refusal() -> None:
    async with open_openai(make_app(ScriptedSource(*HELLO))) as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.completions.create(model="demo", prompt="a", suffix="b")
    assert (raised.value.param, raised.value.code) == ("suffix", "unsupported_parameter")


async def test_an_unknown_model() -> None:
    async with open_openai(make_app(ScriptedSource(*HELLO))) as client:
        with pytest.raises(openai.NotFoundError) as raised:
            await client.completions.create(model="none", prompt="a")
    assert (raised.value.param, raised.value.code) == ("model", "model_not_found")


@pytest.mark.parametrize(
    ("native", "own"),
    [
        ("prompts", "prompt"),
        ("prompts[0]", "prompt"),
        ("generation_parameters.max_tokens", "max_tokens"),
        ("generation_parameters.best_of", "best_of"),
        ("output.top_logprobs", "logprobs"),
        ("output.logprobs", "logprobs"),
        ("output.prompt", "echo"),
        ("output.prompt_logprobs", "prompt_logprobs"),
        ("generation_parameters.provider_extensions.vllm.bad_words", "bad_words"),
        ("generation_parameters.provider_extensions.vllm.add_special_tokens", "add_special_tokens"),
    ],
)
async def test_what_an_engine_refuses_is_named_as_the_client_wrote_it(native: str, own: str) -> None:
    failed = GenerationFailed("invalid_request", "no", "prefill", retryable=False, param=native)
    async with open_openai(make_app(ScriptedSource((failed,)))) as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.completions.create(model="demo", prompt="a")
    assert (raised.value.param, raised.value.type) == (own, "invalid_request_error")


async def test_what_the_source_refuses_is_named_as_the_client_wrote_it() -> None:
    source = ScriptedSource()
    source.refusal = HeadraceError(ErrorCode.CONTEXT_LENGTH_EXCEEDED, "too long", param="prompts")
    async with open_openai(make_app(source)) as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.completions.create(model="demo", prompt="a")
    assert (raised.value.param, raised.value.code) == ("prompt", "context_length_exceeded")


async def test_a_body_that_is_no_json_and_a_wrong_method() -> None:
    async with open_client(make_app(ScriptedSource())) as client:
        refused = await client.post("/v1/completions", content=b"{")
        wrong = await client.get("/v1/completions")
    assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
    assert (wrong.status_code, set(wrong.json()["error"])) == (405, {"message", "type", "param", "code"})
