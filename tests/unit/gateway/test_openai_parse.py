"""OpenAI's body becomes a request, or is refused by the name of the field."""

from typing import Any

import msgspec
import pytest

from headrace.gateway.dialects.openai.chat.parse import OpenAIParser
from headrace.gateway.dialects.openai.chat.wire import IGNORED_FIELDS, UNSUPPORTED_FIELDS, ChatCompletionBody
from headrace.gateway.failure import Failure, failure_of_error
from headrace.schema.errors import HeadraceError
from headrace.schema.messages import Message, TextPart
from headrace.schema.request import ChatCompletionRequest, GenerationParameters

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
LEAST: dict[str, Any] = {"model": "m", "messages": [USER]}


def parse(body: dict[str, Any]) -> ChatCompletionRequest:
    return OpenAIParser().parse(msgspec.json.encode(body)).request


def refuse(body: dict[str, Any] | bytes) -> Failure:
    with pytest.raises(HeadraceError) as raised:
        OpenAIParser().parse(body if isinstance(body, bytes) else msgspec.json.encode(body))
    return failure_of_error(raised.value)


def test_everything_that_is_supported() -> None:
    body: dict[str, Any] = LEAST | {
        "messages": [
            {"role": "developer", "content": "Be brief"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Jo"},
            {
                "role": "assistant",
                "content": "Yes",
                "refusal": None,
                "tool_calls": [],
                "annotations": [],
                "audio": None,
            },
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": -1,
        "min_p": 0.1,
        "max_completion_tokens": 10,
        "max_tokens": 10,
        "n": 2,
        "stop": ["a", "b"],
        "seed": -1,
        "presence_penalty": 1,
        "frequency_penalty": -1,
        "repetition_penalty": 1.1,
        "stream": True,
        "stream_options": {"include_usage": True, "include_obfuscation": False},
    }
    assert parse(body) == ChatCompletionRequest(
        model="m",
        messages=(
            Message("system", "Be brief"),
            Message("user", (TextPart("a"), TextPart("b")), "Jo"),
            Message("assistant", "Yes"),
        ),
        generation_parameters=GenerationParameters(
            temperature=0.5,
            top_p=0.9,
            top_k=0,
            min_p=0.1,
            max_tokens=10,
            n=2,
            stop=("a", "b"),
            seed=-1,
            presence_penalty=1,
            frequency_penalty=-1,
            repetition_penalty=1.1,
        ),
    )
    assert set(body) == set(ChatCompletionBody.__struct_fields__)


def test_null_is_the_default_of_every_optional_field() -> None:
    optional = (set(ChatCompletionBody.__struct_fields__) | IGNORED_FIELDS | set(UNSUPPORTED_FIELDS)) - set(LEAST)
    assert parse(LEAST | dict.fromkeys(optional)) == parse(LEAST)


@pytest.mark.parametrize("name", sorted(IGNORED_FIELDS))
def test_what_changes_nothing_is_ignored(name: str) -> None:
    assert parse(LEAST | {name: {"any": ["thing"]}}) == parse(LEAST)


@pytest.mark.parametrize(("name", "value"), [(k, v) for k, values in UNSUPPORTED_FIELDS.items() for v in values])
def test_what_asks_for_nothing_is_fine(name: str, value: object) -> None:
    assert parse(LEAST | {name: value}) == parse(LEAST)


@pytest.mark.parametrize("name", sorted(UNSUPPORTED_FIELDS))
def test_what_we_lack_is_refused_by_name(name: str) -> None:
    failure = refuse(LEAST | {name: {"real": 1}})
    assert failure == Failure(
        code="unsupported_parameter", message=f"'{name}' is not supported yet", retryable=False, param=name
    )


def test_zero_is_not_false() -> None:
    assert refuse(LEAST | {"logprobs": 0}).param == "logprobs"
    assert refuse(LEAST | {"top_logprobs": False}).param == "top_logprobs"


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
    ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
    ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].role", "unsupported_value"),
    (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
        "invalid_type",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
        "messages[0].content[0].type",
        "unsupported_value",
    ),
    ({"messages": [USER | {"tool_calls": [{}]}]}, "messages[0].tool_calls", None),
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
