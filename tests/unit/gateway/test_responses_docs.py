"""The page on the Responses API lists each field, item and event where the code has it."""

import re
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Struct, structs

from headrace.gateway.dialects.openai.responses.events import StreamEvent
from headrace.gateway.dialects.openai.responses.items import ContentPart, InputItem
from headrace.gateway.dialects.openai.responses.wire import (
    IGNORED_FIELDS,
    INCLUDES,
    UNSUPPORTED_FIELDS,
    ResponseBody,
)
from tests.unit.gateway.doubles import ScriptedSource, make_app


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "dialects" / "openai-responses.md").read_text(encoding="utf-8")


def names_in(page: str, heading: str) -> list[str]:
    """The names in the first columns of the tables under a heading."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    return re.findall(r"^\| `([^`]+)`", section, re.MULTILINE)


def tags_of(*kinds: type[Struct]) -> list[str]:
    return [str(kind.__struct_config__.tag) for kind in kinds]


def test_fields(page: str) -> None:
    assert set(names_in(page, "Supported")) == {field.encode_name for field in structs.fields(ResponseBody)}
    assert set(names_in(page, "Ignored")) == IGNORED_FIELDS
    assert set(names_in(page, "Refused")) == set(UNSUPPORTED_FIELDS)
    assert set(names_in(page, "Include")) == set(INCLUDES)
    refused = set(re.findall(r"^\| `([^`]+)` \| Refused", page, re.MULTILINE))
    assert refused == {name for name, taken in INCLUDES.items() if not taken}


def test_items(page: str) -> None:
    assert set(names_in(page, "Items")) == {*tags_of(*get_args(InputItem)), *tags_of(*get_args(ContentPart))}


def test_events(page: str) -> None:
    assert set(names_in(page, "Events")) == set(tags_of(*get_args(StreamEvent)))


def test_routes(page: str) -> None:
    shown = set(re.findall(r"^\| `([A-Z]+ /v1/[^`]+)`", page, re.MULTILINE))
    served = {
        f"{method} {route.path_format}".replace("{response_id}", "{id}")
        for route in make_app(ScriptedSource()).routes
        for method in getattr(route, "methods", ())
        if route.path_format.startswith("/v1/responses") and method != "OPTIONS"
    }
    assert shown == served
