"""The pages of completions and embeddings list each field where the code has it, with the values that are fine."""

import re
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from msgspec import Struct

from headrace.gateway.dialects.openai.completions import wire as completions
from headrace.gateway.dialects.openai.completions.answers import CompletionLogprobs
from headrace.gateway.dialects.openai.embeddings import wire as embeddings

PAGES: list[tuple[str, ModuleType, type[Struct]]] = [
    ("openai-completions.md", completions, completions.CompletionBody),
    ("openai-embeddings.md", embeddings, embeddings.EmbeddingBody),
]


def rows_of(page: Path, heading: str) -> list[tuple[str, str]]:
    """The first two columns of the table under a heading."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    assert section, heading
    return re.findall(r"^\| `([^`]+)` \| (.*?) ?\|$", section, re.MULTILINE)


@pytest.mark.parametrize(("name", "wire", "body"), PAGES)
def test_each_field_is_told(repository: Path, name: str, wire: ModuleType, body: type[Struct]) -> None:
    page = repository / "docs" / "dialects" / name
    assert sorted(field for field, _ in rows_of(page, "Supported")) == sorted(body.__struct_fields__)
    assert sorted(field for field, _ in rows_of(page, "Ignored")) == sorted(wire.IGNORED_FIELDS)
    refused = {
        field: [msgspec.json.decode(value) for value in re.findall(r"`([^`]+)`", values)]
        for field, values in rows_of(page, "Refused")
    }
    assert refused == {field: list(values) for field, values in wire.UNSUPPORTED_FIELDS.items()}


def test_each_list_of_log_probabilities_is_told(repository: Path) -> None:
    page = repository / "docs" / "dialects" / "openai-completions.md"
    lists = {name for name, _ in rows_of(page, "Answers")}
    assert lists == set(CompletionLogprobs.__struct_fields__)
