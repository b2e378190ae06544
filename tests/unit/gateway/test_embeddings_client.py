"""Embeddings, as the official client asks for them and reads them."""

import math
import struct
from typing import Any

import msgspec
import openai
import openai.types
import pytest
from hypothesis import given
from hypothesis import strategies as st
from litestar import Litestar

from headrace.gateway.answer import AnswerFold
from headrace.gateway.app import GatewayParts, create_app
from headrace.gateway.dialects.openai.embeddings.parse import EmbeddingParser
from headrace.gateway.dialects.openai.embeddings.wire import IGNORED_FIELDS, UNSUPPORTED_FIELDS, EmbeddingBody
from headrace.gateway.failure import Failure, failure_of_error
from headrace.scheduler.base import Submission
from headrace.schema.errors import HeadraceError
from headrace.schema.events import Event, GenerationFailed, GenerationFinished, GenerationStarted, PromptEmbedded, Usage
from headrace.schema.request import ChatCompletionRequest, EmbeddingParams
from headrace.schema.settings import GatewaySettings, ModelSettings
from tests.unit.gateway.doubles import ScriptedSource, Step
from tests.unit.gateway.openai_sdk import open_openai

LEAST: dict[str, Any] = {"model": "m", "input": "Once"}
MODELS = {
    "demo": ModelSettings(weights="tiny:random"),
    "vectors": ModelSettings(weights="tiny:random", task="embed"),
}
NUMBERS = ((0.5, -0.25, 1.0), (0.1, 1e-30, -3.5))
VECTORS = tuple(struct.pack("<3f", *numbers) for numbers in NUMBERS)
FINISHED = GenerationFinished(Usage(input_tokens=9, output_tokens=0))
TWO: tuple[Step, ...] = (
    (GenerationStarted("w", 9), PromptEmbedded(1, VECTORS[1])),
    (PromptEmbedded(0, VECTORS[0]), FINISHED),
)


def parse(change: dict[str, Any]) -> ChatCompletionRequest:
    return EmbeddingParser().parse(msgspec.json.encode(LEAST | change)).request


def refuse(change: dict[str, Any]) -> Failure:
    with pytest.raises(HeadraceError) as raised:
        EmbeddingParser().parse(msgspec.json.encode(LEAST | change))
    return failure_of_error(raised.value)


def whole(vectors: list[bytes], **change: Any) -> dict[str, Any]:
    call = EmbeddingParser().parse(msgspec.json.encode(LEAST | {"input": ["a"] * len(vectors)} | change))
    fold = AnswerFold()
    events: list[Event] = [PromptEmbedded(i, vector) for i, vector in enumerate(vectors)]
    fold.add([*events, FINISHED])
    rendering = call.rendering(Submission(request_id="gen_1", request=call.request))
    assert rendering.render_events(events) == b""
    return msgspec.json.decode(rendering.render_answer(fold.answer()))


def make_app(source: ScriptedSource) -> Litestar:
    return create_app(
        GatewayParts(
            source=source, models=MODELS, settings=GatewaySettings(), version="1.2.3", max_timeout_seconds=100.0
        )
    )


@pytest.mark.parametrize(
    ("value", "prompts"),
    [("a", ("a",)), (["a", "b"], ("a", "b")), ([1, 2], ((1, 2),)), ([[1], [2, 3]], ((1,), (2, 3)))],
)
def test_every_kind_of_input(value: object, prompts: tuple[Any, ...]) -> None:
    request = parse({"input": value, "dimensions": 3})
    assert request == ChatCompletionRequest(model="m", prompts=prompts, embedding=EmbeddingParams(dimensions=3))


def test_the_most_inputs() -> None:
    assert len(parse({"input": ["a"] * 2048}).prompts) == 2048
    assert len(parse({"input": list(range(5000))}).prompts) == 1


@pytest.mark.parametrize(
    ("change", "param", "reason"),
    [
        ({"input": ""}, "input", "empty_string"),
        ({"input": []}, "input", "empty_array"),
        ({"input": ["a", ""]}, "input[1]", "empty_string"),
        ({"input": ["a", 1]}, "input", "invalid_type"),
        ({"input": ["a"] * 2049}, "input", "array_above_max_length"),
        ({"input": None}, "input", "invalid_type"),
        ({"dimensions": 0}, "dimensions", "integer_below_min_value"),
        ({"encoding_format": "int8"}, "encoding_format", "invalid_value"),
        ({"stream": True}, "stream", "unknown_parameter"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str, reason: str) -> None:
    failure = refuse(change)
    assert (failure.param, failure.reason, failure.status) == (param, reason, 400)


def test_null_is_the_default_of_every_optional_field() -> None:
    optional = (set(EmbeddingBody.__struct_fields__) | IGNORED_FIELDS | set(UNSUPPORTED_FIELDS)) - set(LEAST)
    assert parse(dict.fromkeys(optional)) == parse({}) == parse({"user": "Jo"})


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, values in UNSUPPORTED_FIELDS.items() for v in values])
def test_what_asks_for_nothing_is_fine(name: str, value: object) -> None:
    assert parse({name: value}) == parse({})


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_FIELDS))
def test_what_we_lack_is_refused_by_name(name: str) -> None:
    failure = refuse({name: {"real": 1}})
    assert (failure.code, failure.param) == ("unsupported_parameter", name)


async def test_the_client_reads_base64_which_it_asks_for_by_itself() -> None:
    source = ScriptedSource(*TWO)
    async with open_openai(make_app(source)) as client:
        answer = await client.embeddings.create(model="vectors", input=["a", "b"])
    assert [item.index for item in answer.data] == [0, 1]
    assert [tuple(item.embedding) for item in answer.data] == [struct.unpack("<3f", vector) for vector in VECTORS]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("vectors", 9, 9)
    assert source.submissions[0].request.embedding == EmbeddingParams()


async def test_the_client_reads_numbers() -> None:
    async with open_openai(make_app(ScriptedSource(*TWO))) as client:
        answer = await client.embeddings.create(model="vectors", input=["a", "b"], encoding_format="float")
    assert [tuple(item.embedding) for item in answer.data] == [struct.unpack("<3f", vector) for vector in VECTORS]


def test_an_answer_is_of_openais_type() -> None:
    answer = whole(list(VECTORS))
    openai.types.CreateEmbeddingResponse.model_validate(answer, strict=True)
    assert set(answer) == {"object", "data", "model", "usage"}
    assert answer["data"][0] == {"object": "embedding", "index": 0, "embedding": [0.5, -0.25, 1.0]}
    assert whole([VECTORS[0]], encoding_format="base64")["data"][0]["embedding"] == "AAAAPwAAgL4AAIA/"


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=8))
def test_numbers_are_exactly_those_of_the_vector(numbers: list[float]) -> None:
    (item,) = whole([struct.pack(f"<{len(numbers)}f", *numbers)])["data"]
    assert item["embedding"] == numbers
    assert [math.copysign(1, number) for number in item["embedding"]] == [
        math.copysign(1, number) for number in numbers
    ]


async def test_an_answer_that_lacks_an_input() -> None:
    async with open_openai(make_app(ScriptedSource((PromptEmbedded(0, VECTORS[0]), FINISHED)))) as client:
        with pytest.raises(openai.InternalServerError) as raised:
            await client.embeddings.create(model="vectors", input=["a", "b"])
    assert raised.value.code == "stream_broken"


@pytest.mark.parametrize(
    ("native", "own"),
    [("prompts[1]", "input"), ("prompts", "input"), ("embedding.dimensions", "dimensions"), ("model", "model")],
)
async def test_what_an_engine_refuses_is_named_as_the_client_wrote_it(native: str, own: str) -> None:
    failed = GenerationFailed("invalid_request", "no", "prefill", retryable=False, param=native)
    async with open_openai(make_app(ScriptedSource((failed,)))) as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.embeddings.create(model="vectors", input="a")
    assert raised.value.param == own


async def test_a_model_that_makes_no_embeddings() -> None:
    async with open_openai(make_app(ScriptedSource())) as client:
        with pytest.raises(openai.BadRequestError) as raised:
            await client.embeddings.create(model="demo", input="a")
        assert raised.value.param == "model"
        with pytest.raises(openai.BadRequestError) as raised:
            await client.completions.create(model="vectors", prompt="a")
        assert raised.value.param == "model"
