"""The documentation of the dialects lists each field where the code has it."""

import re
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Struct, structs

from headrace.gateway.dialects.native import wire as native
from headrace.gateway.dialects.openai.chat import wire as openai
from headrace.schema.errors import ErrorCode
from headrace.schema.request import GenerationParameters, OutputFlags


@pytest.fixture
def dialects(repository: Path) -> Path:
    return repository / "docs" / "dialects"


def names_in(page: Path, heading: str) -> set[str]:
    """The names in the first column of the table under a heading."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    return set(re.findall(r"^\| `([^`]+)`", section, re.MULTILINE))


def fields_of(kind: type[Struct]) -> set[str]:
    return {field.encode_name for field in structs.fields(kind)}


def test_openai_fields(dialects: Path) -> None:
    page = dialects / "openai.md"
    assert names_in(page, "Supported") == fields_of(openai.ChatCompletionBody)
    assert names_in(page, "Ignored") == openai.IGNORED_FIELDS
    assert names_in(page, "Refused") == set(openai.UNSUPPORTED_FIELDS)
    messages = fields_of(openai.ChatMessage)
    assert names_in(page, "Messages") == messages - set(openai.UNSUPPORTED_MESSAGE_FIELDS)
    assert set(openai.UNSUPPORTED_MESSAGE_FIELDS) < messages


def test_native_fields(dialects: Path) -> None:
    page = dialects / "native.md"
    assert names_in(page, "Request") == fields_of(native.GenerationBody)
    assert names_in(page, "Generation parameters") == fields_of(GenerationParameters)
    assert names_in(page, "Output") == fields_of(OutputFlags)


def test_native_events(dialects: Path) -> None:
    tags = {event.__struct_config__.tag for event in get_args(native.StreamEvent)}
    assert names_in(dialects / "native.md", "Events") == tags


def test_error_codes(dialects: Path) -> None:
    assert names_in(dialects / "native.md", "Errors") == {code.value for code in ErrorCode}
