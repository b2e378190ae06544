"""The documentation of the dialects lists each field where the code has it."""

import re
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Struct, structs

from headrace.gateway.dialects.native import wire as native
from headrace.gateway.dialects.openai.chat import wire as openai
from headrace.gateway.dialects.openai.chat.messages import REFUSED_MESSAGE_FIELDS, ChatMessage
from headrace.gateway.dialects.openai.extras import VllmFields
from headrace.schema.errors import ErrorCode
from headrace.schema.formats import ResponseFormat
from headrace.schema.messages import Part
from headrace.schema.request import BeamSearchParams, GenerationParameters, OutputFlags
from headrace.schema.tools import Tool, ToolChoice


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


def test_openai_chat_fields(dialects: Path) -> None:
    page = dialects / "openai.md"
    body, vllm = fields_of(openai.ChatCompletionBody), names_in(page, "Chat: vLLM's fields")
    assert names_in(page, "Chat: supported") | vllm == body
    assert fields_of(VllmFields) <= vllm
    assert names_in(page, "Chat: ignored") == openai.IGNORED_FIELDS
    assert names_in(page, "Chat: refused") == set(openai.UNSUPPORTED_FIELDS)
    message = fields_of(ChatMessage)
    assert names_in(page, "Chat: messages") == message - set(REFUSED_MESSAGE_FIELDS)
    assert set(REFUSED_MESSAGE_FIELDS) < message


def test_native_fields(dialects: Path) -> None:
    page = dialects / "native.md"
    assert names_in(page, "Request") == fields_of(native.GenerationBody)
    assert names_in(page, "Generation parameters") == fields_of(GenerationParameters)
    assert names_in(page, "Output") == fields_of(OutputFlags)
    assert names_in(page, "Beam search") == fields_of(BeamSearchParams)
    assert names_in(page, "Tools") == fields_of(Tool) | fields_of(ToolChoice)


def test_native_unions(dialects: Path) -> None:
    page = dialects / "native.md"
    for heading, union in (("Messages", Part), ("Formats", ResponseFormat)):
        assert names_in(page, heading) == {member.__struct_config__.tag for member in get_args(union)}


def test_native_events(dialects: Path) -> None:
    tags = {event.__struct_config__.tag for event in get_args(native.StreamEvent)}
    assert names_in(dialects / "native.md", "Events") == tags


def test_error_codes(dialects: Path) -> None:
    assert names_in(dialects / "native.md", "Errors") == {code.value for code in ErrorCode}
