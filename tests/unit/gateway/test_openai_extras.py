"""The fields that vLLM's users send in `extra_body`, and what asks for reasoning."""

from typing import Any

import pytest

from headrace.schema.request import BeamSearchParams, GenerationParameters, OutputFlags
from tests.unit.gateway.doubles import CHAT, HELLO, ScriptedSource, make_app, open_client
from tests.unit.gateway.openai_chat import LEAST, parse, parse_call, refuse


def parameters_of(change: dict[str, Any]) -> GenerationParameters:
    return parse(change).generation_parameters


def test_what_every_engine_knows() -> None:
    body = {"top_k": -1, "min_p": 0.1, "repetition_penalty": 1.1, "min_tokens": 2, "ignore_eos": True, "best_of": 2}
    assert parameters_of(body) == GenerationParameters(
        top_k=0, min_p=0.1, repetition_penalty=1.1, min_tokens=2, ignore_eos=True, best_of=2
    )


def test_what_only_vllm_knows() -> None:
    body: dict[str, Any] = {
        "stop_token_ids": [1],
        "allowed_token_ids": [2, 3],
        "bad_words": ["x"],
        "skip_special_tokens": False,
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert parameters_of(body).provider_extensions == {"vllm": body}


@pytest.mark.parametrize(
    ("change", "arguments"),
    [
        ({"continue_final_message": True}, {"continue_final_message": True, "add_generation_prompt": False}),
        ({"add_generation_prompt": False}, {"add_generation_prompt": False}),
        ({"reasoning_effort": "low"}, {"reasoning_effort": "low", "enable_thinking": True}),
        ({"reasoning_effort": "none"}, {"reasoning_effort": "none", "enable_thinking": False}),
        (
            {"reasoning_effort": "high", "chat_template_kwargs": {"enable_thinking": False}},
            {"reasoning_effort": "high", "enable_thinking": False},
        ),
    ],
)
def test_variables_of_the_chat_template(change: dict[str, Any], arguments: dict[str, Any]) -> None:
    assert parameters_of(change).provider_extensions == {"vllm": {"chat_template_kwargs": arguments}}


def test_what_is_left_out_needs_no_extension() -> None:
    assert parameters_of({"add_generation_prompt": True, "continue_final_message": False}).provider_extensions == {}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"n": 3}, BeamSearchParams(width=3)),
        ({"n": 2, "best_of": 4}, BeamSearchParams(width=4)),
        (
            {"length_penalty": 0.5, "early_stopping": "never"},
            BeamSearchParams(width=1, length_penalty=0.5, early_stopping="never"),
        ),
    ],
)
def test_beam_search(change: dict[str, Any], expected: BeamSearchParams) -> None:
    parameters = parameters_of({"use_beam_search": True} | change)
    assert (parameters.beam_search, parameters.best_of) == (expected, None)


@pytest.mark.parametrize(("theirs", "ours"), [(None, None), (0, 5), (-1, 6), (3, 2), (-(2**40), 9), (2**40, 0)])
def test_the_lower_the_sooner(theirs: int | None, ours: int | None) -> None:
    assert parse_call({"priority": theirs}).priority == ours


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, False),
        ({"include_reasoning": True}, True),
        ({"reasoning_effort": "minimal"}, True),
        ({"reasoning_effort": "none"}, False),
        ({"reasoning_effort": "high", "include_reasoning": False}, False),
        ({"chat_template_kwargs": {"enable_thinking": True}}, True),
        ({"chat_template_kwargs": {"enable_thinking": False}}, False),
    ],
)
def test_reasoning_is_shown_when_it_is_asked_for(change: dict[str, Any], shown: bool) -> None:
    assert parse(change).output.reasoning is shown


def test_output() -> None:
    assert parse({"return_token_ids": True}).output == OutputFlags(token_ids=True, prompt=True, signatures=True)
    assert parse({"prompt_logprobs": 0}).output == OutputFlags(prompt=True, prompt_logprobs=0, signatures=True)


WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    ({"use_beam_search": True, "n": 33}, "generation_parameters.beam_search.width", None),
    ({"best_of": 1, "n": 2}, "generation_parameters.best_of", None),
    ({"min_tokens": 3, "max_tokens": 2}, "generation_parameters.min_tokens", None),
    ({"stop_token_ids": [-1]}, "stop_token_ids[0]", "integer_below_min_value"),
    ({"early_stopping": "soon"}, "early_stopping", "invalid_value"),
    ({"prompt_logprobs": 1, "stream": True}, "prompt_logprobs", None),
    ({"continue_final_message": True, "add_generation_prompt": True}, "continue_final_message", "invalid_value"),
    ({"chat_template": "{{ x }}"}, "chat_template", None),
    ({"include_stop_str_in_output": True}, "include_stop_str_in_output", None),
    ({"echo": True}, "echo", None),
]


@pytest.mark.parametrize(("change", "param", "reason"), WRONG)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str, reason: str | None) -> None:
    failure = refuse(LEAST | change)
    assert (failure.param, failure.reason, failure.status) == (param, reason, 400)


@pytest.mark.parametrize(("headers", "priority"), [({}, 7), ({"Headrace-Priority": "1"}, 1)])
async def test_the_header_goes_before_the_body(headers: dict[str, str], priority: int) -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        await client.post("/v1/chat/completions", json=CHAT | {"priority": -2}, headers=headers)
    assert source.submissions[0].priority == priority


@pytest.mark.parametrize(
    ("tier", "headers", "lane"),
    [
        ("flex", {}, "batch"),
        ("flex", {"Headrace-Lane": "online"}, "online"),
        ("priority", {}, "online"),
        (None, {}, "online"),
    ],
)
async def test_the_flex_tier_is_the_batch_lane(tier: str | None, headers: dict[str, str], lane: str) -> None:
    source = ScriptedSource(*HELLO)
    async with open_client(make_app(source)) as client:
        await client.post("/v1/chat/completions", json=CHAT | {"service_tier": tier}, headers=headers)
    assert source.submissions[0].lane == lane
