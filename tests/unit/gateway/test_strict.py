"""A key that the Struct has no field for is found wherever it is."""

from typing import Any

import pytest
from msgspec import Struct, inspect

from headrace.gateway.dialects.native.wire import GenerationBody
from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.strict import StrictReader, find_unknown_key


class Cat(Struct, tag_field="kind", tag="cat"):
    lives: int = 9


class Dog(Struct, tag_field="kind", tag="dog"):
    tricks: tuple[Cat, ...] = ()


class House(Struct, rename={"street": "road"}):
    pets: list[Cat | Dog] = []
    boss: Cat | None = None
    notes: dict[str, Any] = {}
    street: str = ""


VALUES: list[tuple[dict[str, Any], str | None]] = [
    ({}, None),
    ({"road": "x", "notes": {"any": {"thing": 1}}, "boss": None}, None),
    ({"pets": [{"kind": "cat", "lives": 1}, {"kind": "dog", "tricks": [{}]}]}, None),
    ({"street": "x"}, "street"),
    ({"boss": {"lifes": 1}}, "boss.lifes"),
    ({"pets": [{"kind": "cat"}, {"kind": "dog", "lives": 1}]}, "pets[1].lives"),
    ({"pets": [{"kind": "dog", "tricks": [{}, {"kind": "cat", "x": 1}]}]}, "pets[0].tricks[1].x"),
    # What is of the wrong type is left to the decoder.
    ({"pets": {"kind": "cow"}, "boss": [1], "notes": 1}, None),
    ({"k" * 1000: 1}, "k" * 64),
]


@pytest.mark.parametrize(("value", "path"), VALUES)
def test_the_first_unknown_key_is_found(value: dict[str, Any], path: str | None) -> None:
    assert find_unknown_key(value, inspect.type_info(House)) == path


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"strem": True}, "strem"),
        ({"output": {"usages": True}}, "output.usages"),
        ({"generation_parameters": {"temprature": 1}}, "generation_parameters.temprature"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": "a", "cache": 1}]}]},
            "messages[0].content[0].cache",
        ),
    ],
)
def test_native_keys_are_refused_by_path(change: dict[str, Any], path: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]} | change
    with pytest.raises(RequestRefusedError, match="unknown parameter") as raised:
        StrictReader(GenerationBody).read(body)
    assert raised.value.param == path


def test_extensions_for_providers_are_theirs() -> None:
    body: dict[str, Any] = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "generation_parameters": {"provider_extensions": {"anything": {"at": "all"}}},
    }
    read = StrictReader(GenerationBody).read(body)
    assert read.generation_parameters.provider_extensions == {"anything": {"at": "all"}}
