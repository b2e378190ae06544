"""The body of a completion becomes a request, or is refused by the name of the field."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.dialects.openai.completions.wire import IGNORED_FIELDS, UNSUPPORTED_FIELDS, CompletionBody
from headrace.schema.errors import HeadraceError
from headrace.schema.formats import ChoiceFormat, JsonObjectFormat
from headrace.schema.request import BeamSearchParams, ChatCompletionRequest, GenerationParameters, OutputFlags
from tests.unit.gateway.completions import LEAST, parse, parse_call, refuse


def test_the_least_body() -> None:
    assert parse({}) == ChatCompletionRequest(
        model="m", prompts=("Once",), generation_parameters=GenerationParameters(max_tokens=16)
    )
    assert parse_call({}).stream is False


def test_everything_that_openai_has() -> None:
    request = parse(
        {
            "best_of": 3,
            "echo": True,
            "frequency_penalty": 1,
            "logit_bias": {"50256": -100},
            "logprobs": 5,
            "max_tokens": 7,
            "n": 2,
            "presence_penalty": -1,
            "seed": -1,
            "stop": "\n",
            "stream": False,
            "suffix": None,
            "temperature": 0.5,
            "top_p": 0.9,
            "user": "Jo",
        }
    )
    assert request == ChatCompletionRequest(
        model="m",
        prompts=("Once",),
        generation_parameters=GenerationParameters(
            temperature=0.5,
            top_p=0.9,
            max_tokens=7,
            n=2,
            best_of=3,
            stop=("\n",),
            seed=-1,
            presence_penalty=-1,
            frequency_penalty=1,
            logit_bias={50256: -100},
        ),
        output=OutputFlags(logprobs=True, top_logprobs=5, prompt=True, prompt_logprobs=5),
    )


def test_what_vllm_has_beside() -> None:
    call = parse_call(
        {
            "add_special_tokens": False,
            "allowed_token_ids": [1, 2],
            "bad_words": ["no"],
            "ignore_eos": True,
            "min_p": 0.1,
            "min_tokens": 2,
            "priority": -2,
            "prompt_logprobs": 3,
            "repetition_penalty": 1.1,
            "return_token_ids": True,
            "skip_special_tokens": False,
            "stop_token_ids": [7],
            "structured_outputs": {"choice": ["a", "b"]},
            "top_k": -1,
        }
    )
    assert call.priority == 7
    request = call.request
    assert request.response_format == ChoiceFormat(("a", "b"))
    assert request.output == OutputFlags(token_ids=True, prompt=True, prompt_logprobs=3)
    assert request.generation_parameters == GenerationParameters(
        top_k=0,
        min_p=0.1,
        max_tokens=16,
        min_tokens=2,
        ignore_eos=True,
        repetition_penalty=1.1,
        provider_extensions={
            "vllm": {
                "allowed_token_ids": [1, 2],
                "bad_words": ["no"],
                "stop_token_ids": [7],
                "skip_special_tokens": False,
                "add_special_tokens": False,
            }
        },
    )


def test_beams() -> None:
    parameters = parse({"use_beam_search": True, "n": 2, "best_of": 4, "length_penalty": 0.5}).generation_parameters
    assert parameters.beam_search == BeamSearchParams(width=4, length_penalty=0.5)
    assert parameters.best_of is None


def test_special_tokens_are_added_unless_the_client_says_otherwise() -> None:
    assert parse({"add_special_tokens": True}) == parse({})


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("a", ("a",)),
        (["a"], ("a",)),
        (["a", "b"], ("a", "b")),
        ([0], ((0,),)),
        ([1, 2, 3], ((1, 2, 3),)),
        ([[1, 2], [3]], ((1, 2), (3,))),
    ],
)
def test_every_kind_of_prompt(prompt: object, prompts: tuple[Any, ...]) -> None:
    assert parse({"prompt": prompt}).prompts == prompts


@pytest.mark.parametrize(
    ("prompt", "param", "reason"),
    [
        ("", "prompt", "empty_string"),
        (None, "prompt", "invalid_type"),
        (1, "prompt", "invalid_type"),
        ([], "prompt", "empty_array"),
        (["a", ""], "prompt[1]", "empty_string"),
        ([[1], []], "prompt[1]", "empty_array"),
        (["a", 1], "prompt", "invalid_type"),
        (["a", [1]], "prompt", "invalid_type"),
        ([[1], 2], "prompt", "invalid_type"),
        ([1, True], "prompt[1]", "invalid_type"),
        ([1.5], "prompt[0]", "invalid_type"),
        ([-1], "prompt[0]", "integer_below_min_value"),
        ([[1, 2**40]], "prompt[0][1]", "integer_above_max_value"),
        (["a"] * 2049, "prompt", "array_above_max_length"),
        (["a"] * 129, "prompts", None),
    ],
)
def test_a_wrong_prompt_is_named(prompt: object, param: str, reason: str | None) -> None:
    failure = refuse(LEAST | {"prompt": prompt})
    assert (failure.param, failure.reason, failure.status) == (param, reason, 400)


def test_a_prompt_must_be_there() -> None:
    assert refuse({"model": "m"}).reason == "missing_required_parameter"


def test_no_tokens_are_one_that_is_dropped() -> None:
    """An engine can't generate nothing."""
    request = parse({"max_tokens": 0, "echo": True, "logprobs": 0})
    assert request.generation_parameters.max_tokens == 1
    assert request.output == OutputFlags(logprobs=True, prompt=True, prompt_logprobs=0)


def test_the_most_that_is_asked_for_the_prompt_is_asked_of_the_engine() -> None:
    assert parse({"echo": True, "logprobs": 5, "prompt_logprobs": 2}).output.prompt_logprobs == 5
    assert parse({"logprobs": 5, "prompt_logprobs": 2}).output.prompt_logprobs == 2


def test_a_response_format() -> None:
    assert parse({"response_format": {"type": "json_object"}}).response_format == JsonObjectFormat()
    both = {"response_format": {"type": "json_object"}, "guided_regex": "a"}
    assert refuse(LEAST | both).param == "response_format"


def test_null_is_the_default_of_every_optional_field() -> None:
    optional = (set(CompletionBody.__struct_fields__) | IGNORED_FIELDS | set(UNSUPPORTED_FIELDS)) - set(LEAST)
    assert parse(dict.fromkeys(optional)) == parse({})


@pytest.mark.parametrize("name", sorted(IGNORED_FIELDS))
def test_what_changes_nothing_is_ignored(name: str) -> None:
    assert parse({name: {"any": ["thing"]}}) == parse({})


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, values in UNSUPPORTED_FIELDS.items() for v in values])
def test_what_asks_for_nothing_is_fine(name: str, value: object) -> None:
    assert parse({name: value}) == parse({})


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_FIELDS))
def test_what_we_lack_is_refused_by_name(name: str) -> None:
    failure = refuse(LEAST | {name: {"real": 1}})
    assert (failure.code, failure.param, failure.status) == ("unsupported_parameter", name, 400)
    assert failure.message.startswith(f"'{name}' is not supported")


WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    ({"messages": []}, "messages", "unknown_parameter"),
    ({"model": 1}, "model", "invalid_type"),
    ({"logprobs": True}, "logprobs", "invalid_type"),
    ({"logprobs": 21}, "logprobs", "integer_above_max_value"),
    ({"logprobs": -1}, "logprobs", "integer_below_min_value"),
    ({"max_tokens": -1}, "max_tokens", "integer_below_min_value"),
    ({"n": 129}, "n", "integer_above_max_value"),
    ({"prompt": ["a", "b"], "n": 128}, "prompts", None),
    ({"best_of": 1, "n": 2}, "generation_parameters.best_of", None),
    ({"best_of": 2, "stream": True}, "best_of", None),
    ({"stop": [""]}, "stop[0]", "empty_string"),
    ({"logit_bias": {"x": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"1": 101}}, "logit_bias", "invalid_value"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ({"stream": True, "stream_options": {"foo": 1}}, "stream_options.foo", "unknown_parameter"),
    ({"stream": True, "prompt_logprobs": 1}, "prompt_logprobs", None),
]


@pytest.mark.parametrize(("change", "param", "reason"), WRONG)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str, reason: str | None) -> None:
    failure = refuse(LEAST | change)
    assert (failure.param, failure.reason, failure.status) == (param, reason, 400)


def test_counts_in_every_frame_are_refused() -> None:
    failure = refuse(LEAST | {"stream": True, "stream_options": {"continuous_usage_stats": True}})
    assert failure.param == "stream_options.continuous_usage_stats"


def test_what_can_be_streamed() -> None:
    for change in ({"best_of": 2, "n": 2}, {"use_beam_search": True, "best_of": 2}, {"echo": True, "logprobs": 1}):
        assert parse_call(change | {"stream": True}).stream is True


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(CompletionBody.__struct_fields__)), ANYTHING, max_size=4))
def test_whatever_a_field_holds_is_taken_or_refused(change: dict[str, Any]) -> None:
    with suppress(HeadraceError):
        parse(change)
