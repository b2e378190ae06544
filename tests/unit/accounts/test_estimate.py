"""A reservation is a guess on the high side, and its parts add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.accounts.metering.estimate import IMAGE_TOKENS, MESSAGE_TOKENS, EstimateLimits, count_text, estimate_usage
from headrace.schema.events import Usage
from headrace.schema.messages import ImagePart, Message, TextPart, ToolCallPart, ToolResultPart
from headrace.schema.request import (
    BeamSearchParams,
    ChatCompletionRequest,
    EmbeddingParams,
    GenerationParameters,
)
from headrace.schema.tools import Tool
from tests.support.values import make_request

LIMITS = EstimateLimits(context_tokens=1000)


def parameters(**values: int) -> GenerationParameters:
    return GenerationParameters(**values)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "tokens"), [("", 0), ("a", 1), ("abc", 1), ("abcd", 2), ("é", 1), ("日本", 3), ("a日", 3), ("🙂", 2)]
)
def test_text(text: str, tokens: int) -> None:
    assert count_text(text) == tokens


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens(one: str, other: str) -> None:
    assert count_text(one + other) >= max(count_text(one), count_text(other))
    assert count_text(one) <= len(one.encode("utf-8", "replace"))


def test_an_answer_is_bounded_by_what_was_asked_or_by_the_context() -> None:
    prompt = MESSAGE_TOKENS + 2
    assert estimate_usage(make_request(parameters=parameters(max_tokens=50)), LIMITS) == Usage(prompt, 50)
    assert estimate_usage(make_request(parameters=parameters(max_tokens=5000)), LIMITS) == Usage(prompt, 1000)
    assert estimate_usage(make_request(), LIMITS) == Usage(prompt, 1000 - prompt)
    assumed = EstimateLimits(context_tokens=1000, assumed_output_tokens=64)
    assert estimate_usage(make_request(), assumed) == Usage(prompt, 64)
    assert estimate_usage(make_request(parameters=parameters(max_tokens=80)), assumed) == Usage(prompt, 80)
    assert estimate_usage(make_request(text="a" * 9000), LIMITS) == Usage(1000, 0)


def test_every_sequence_that_is_sampled_counts() -> None:
    for given_parameters, factor in (
        (parameters(max_tokens=10, n=3), 3),
        (parameters(max_tokens=10, n=2, best_of=4), 4),
        (GenerationParameters(max_tokens=10, n=2, beam_search=BeamSearchParams(width=5)), 5),
    ):
        assert estimate_usage(make_request(parameters=given_parameters), LIMITS).output_tokens == 10 * factor


def test_prompts_each_have_an_answer() -> None:
    request = ChatCompletionRequest(
        model="m", prompts=("abc", (1, 2, 3)), generation_parameters=parameters(max_tokens=7)
    )
    assert estimate_usage(request, LIMITS) == Usage(4, 14)


def test_what_generates_nothing() -> None:
    embedding = ChatCompletionRequest(model="m", prompts=("abcdef",), embedding=EmbeddingParams())
    assert estimate_usage(embedding, LIMITS) == Usage(2, 0)
    count = ChatCompletionRequest(model="m", messages=(Message("user", "abc"),), count_only=True)
    assert estimate_usage(count, LIMITS) == Usage(0, 0)


def test_parts_and_tools() -> None:
    image = ImagePart(url="data:image/png;base64," + "A" * 100_000)
    messages = (
        Message("user", (TextPart("abc"), image)),
        Message("assistant", (ToolCallPart(id="1", name="find", arguments="{}"),)),
        Message("tool", (ToolResultPart(tool_call_id="1", content=(TextPart("abc"), image)),)),
    )
    limits = EstimateLimits(context_tokens=10_000)
    plain = estimate_usage(ChatCompletionRequest(model="m", messages=messages), limits).input_tokens
    assert plain == 5 * MESSAGE_TOKENS + 2 * IMAGE_TOKENS + 1 + 2 + 1 + 1
    with_tools = ChatCompletionRequest(model="m", messages=messages, tools=(Tool(name="find", description="x" * 300),))
    assert estimate_usage(with_tools, limits).input_tokens > plain + 100
