"""OpenAI's body becomes a request, or is refused by the name of the field."""

from typing import Any

import pytest
from openai.types.chat import completion_create_params

from headrace.gateway.dialects.openai.chat.wire import (
    ADVICE,
    IGNORED_FIELDS,
    UNSUPPORTED_FIELDS,
    ChatCompletionBody,
)
from headrace.gateway.failure import Failure
from headrace.schema.messages import Message, TextPart
from headrace.schema.request import ChatCompletionRequest, GenerationParameters, OutputFlags
from tests.unit.gateway.openai_chat import LEAST, USER, parse, refuse


def test_every_field_of_the_official_client_is_known() -> None:
    kinds = completion_create_params
    theirs = set(kinds.CompletionCreateParamsBase.__annotations__)
    theirs |= set(kinds.CompletionCreateParamsStreaming.__annotations__)
    ours = {*ChatCompletionBody.__struct_fields__, *IGNORED_FIELDS, *UNSUPPORTED_FIELDS}
    assert theirs <= ours


def test_what_openai_has() -> None:
    body: dict[str, Any] = {
        "messages": [
            {"role": "developer", "content": "Be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Jo"},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_completion_tokens": 10,
        "max_tokens": 10,
        "n": 2,
        "stop": ["a", "b"],
        "seed": -1,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "logit_bias": {"5": -100, "7": 0.5},
        "logprobs": True,
        "top_logprobs": 3,
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
    }
    assert parse(body) == ChatCompletionRequest(
        model="m",
        messages=(Message("system", "Be brief"), Message("user", (TextPart("a"), TextPart("b")), "Jo")),
        generation_parameters=GenerationParameters(
            temperature=0.5,
            top_p=0.9,
            max_tokens=10,
            n=2,
            stop=("a", "b"),
            seed=-1,
            presence_penalty=1,
            frequency_penalty=-1,
            logit_bias={5: -100, 7: 0.5},
        ),
        output=OutputFlags(logprobs=True, top_logprobs=3, signatures=True),
    )


def test_null_is_the_default_of_every_optional_field() -> None:
    optional = (set(ChatCompletionBody.__struct_fields__) | IGNORED_FIELDS | set(UNSUPPORTED_FIELDS)) - set(LEAST)
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
    message = f"'{name}' is not supported{ADVICE.get(name, '')}"
    assert failure == Failure(code="unsupported_parameter", message=message, retryable=False, param=name)


def test_zero_is_not_false() -> None:
    assert refuse(LEAST | {"echo": 0}).param == "echo"


WRONG: list[tuple[dict[str, Any], str, str | None]] = [
    ({"foo": None}, "foo", "unknown_parameter"),
    ({"messages": [USER | {"foo": 1}]}, "messages[0].foo", "unknown_parameter"),
    ({"stream": True, "stream_options": {"foo": 1}}, "stream_options.foo", "unknown_parameter"),
    ({"model": 1}, "model", "invalid_type"),
    ({"model": ""}, "model", "empty_string"),
    ({"messages": "Hi"}, "messages", "invalid_type"),
    ({"messages": []}, "messages", "empty_array"),
    ({"messages": [{"content": "Hi"}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [USER, {"role": "user", "content": 1}]}, "messages[1].content", "invalid_type"),
    ({"messages": [USER | {"content": ""}]}, "messages", None),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"temperature": 2.5}, "temperature", "decimal_above_max_value"),
    ({"temperature": -1}, "temperature", "decimal_below_min_value"),
    ({"top_p": 0}, "top_p", "decimal_below_min_value"),
    ({"n": 0}, "n", "integer_below_min_value"),
    ({"n": 1000}, "n", "integer_above_max_value"),
    ({"n": 1.5}, "n", "invalid_type"),
    ({"n": True}, "n", "invalid_type"),
    ({"seed": 2**70}, "seed", "integer_above_max_value"),
    ({"max_tokens": 0}, "max_tokens", "integer_below_min_value"),
    ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens", "invalid_value"),
    ({"stop": ""}, "stop", "empty_string"),
    ({"stop": ["a"] * 17}, "stop", "array_above_max_length"),
    ({"stop": [1]}, "stop[0]", "invalid_type"),
    ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    (
        {"stream": True, "stream_options": {"continuous_usage_stats": True}},
        "stream_options.continuous_usage_stats",
        None,
    ),
    ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ({"logprobs": False, "top_logprobs": 2}, "top_logprobs", "invalid_value"),
    ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "integer_above_max_value"),
    ({"logprobs": 1}, "logprobs", "invalid_type"),
    ({"logit_bias": {"a": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"-1": 1}}, "logit_bias", "invalid_value"),
    ({"logit_bias": {"5": 101}}, "logit_bias", "invalid_value"),
    ({"reasoning_effort": "lots"}, "reasoning_effort", "unsupported_value"),
]


@pytest.mark.parametrize(("change", "param", "reason"), WRONG)
def test_what_is_wrong_is_named(change: dict[str, Any], param: str, reason: str | None) -> None:
    failure = refuse(LEAST | change)
    assert (failure.param, failure.reason, failure.status) == (param, reason, 400)


def test_messages_say_it_in_plain_words() -> None:
    assert refuse({}).message == "'model' is missing"
    assert refuse(LEAST | {"n": "2"}).message == "'n' must be an integer or null, not a string"
    assert refuse(LEAST | {"temperature": 3}).message == "'temperature' must be <= 2"
    assert refuse(LEAST | {"stop": ["a"] * 17}).message == "'stop' may have at most 16 items"
    wrong_content = refuse(LEAST | {"messages": [USER | {"content": 1}]})
    assert wrong_content.message == "'messages[0].content' must be a string, an array or null, not an integer"


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 100_000, b'{"model":"\xff"}', b'{"a":1e999}', b'"x"', b'{"model":"\\ud800"}', b"nan"]
)
def test_a_body_that_is_no_json_object(body: bytes) -> None:
    failure = refuse(body)
    assert failure.reason in {"invalid_json", "invalid_type"}
    assert failure.message.startswith("the body ")
    assert failure.param is None


def test_values_of_clients_are_not_quoted_at_length() -> None:
    prompt = "a secret prompt" * 100
    assert prompt not in refuse(LEAST | {"messages": [{"role": prompt, "content": "Hi"}]}).message
    assert prompt not in refuse(LEAST | {prompt: 1}).message
