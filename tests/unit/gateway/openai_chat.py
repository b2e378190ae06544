"""Bodies of chat completions and what they are parsed into, for the tests of that dialect."""

from typing import Any

import msgspec
import pytest

from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.dialects.openai.chat.parse import OpenAIParser
from headrace.gateway.failure import Failure, failure_of_error
from headrace.schema.errors import HeadraceError
from headrace.schema.request import ChatCompletionRequest

USER: dict[str, Any] = {"role": "user", "content": "Hi"}
LEAST: dict[str, Any] = {"model": "m", "messages": [USER]}
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}},
}
CLOCK: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}


def parse_call(change: dict[str, Any]) -> ParsedCall:
    return OpenAIParser().parse(msgspec.json.encode(LEAST | change))


def parse(change: dict[str, Any]) -> ChatCompletionRequest:
    return parse_call(change).request


def refuse(body: dict[str, Any] | bytes) -> Failure:
    with pytest.raises(HeadraceError) as raised:
        OpenAIParser().parse(body if isinstance(body, bytes) else msgspec.json.encode(body))
    return failure_of_error(raised.value)
