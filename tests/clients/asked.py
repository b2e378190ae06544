"""What the clients ask for: a form, two tools, and the questions that the script has answers to."""

from typing import Literal

from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam
from pydantic import BaseModel, ConfigDict


class Forecast(BaseModel):
    """A form with few members, so that also a small model soon comes to its end."""

    model_config = ConfigDict(extra="forbid")

    city: Literal["Paris", "Rome"]
    sky: Literal["sunny", "rainy", "cloudy"]


class GetWeather(BaseModel):
    """The arguments of `get_weather`."""

    model_config = ConfigDict(extra="forbid")

    city: Literal["Paris", "Rome"]
    unit: Literal["celsius", "kelvin"]


class GetTime(BaseModel):
    """The arguments of `get_time`."""

    model_config = ConfigDict(extra="forbid")

    zone: Literal["Europe/Paris", "Europe/Rome"]


ARGUMENTS: dict[str, type[BaseModel]] = {"get_weather": GetWeather, "get_time": GetTime}
DESCRIPTIONS = {"get_weather": "The weather of a city.", "get_time": "The time of a zone."}
FRANCE: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER: list[ChatCompletionMessageParam] = [{"role": "user", "content": "What is the weather in Paris?"}]
CHAT_TOOLS: list[ChatCompletionFunctionToolParam] = [
    {
        "type": "function",
        "function": {"name": name, "description": DESCRIPTIONS[name], "parameters": kind.model_json_schema()},
    }
    for name, kind in ARGUMENTS.items()
]


def check_arguments(name: str, arguments: str | object) -> None:
    """Check that a call's arguments, as JSON or as values, are what its tool takes."""
    kind = ARGUMENTS[name]
    if isinstance(arguments, str):
        kind.model_validate_json(arguments)
    else:
        kind.model_validate(arguments)


def say(text: str) -> list[ChatCompletionMessageParam]:
    """Return a conversation of one message."""
    return [{"role": "user", "content": text}]
