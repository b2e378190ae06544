"""The docs know every room, and point to nothing that is not there."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_TEST_FILE = re.compile(r"`(tests/[\w/]+(?:\.py)?)`")


def _pages(repository: Path) -> Iterator[Path]:
    yield from sorted((repository / "docs").rglob("*.md"))
    if (readme := repository / "README.md").exists():
        yield readme


def _anchors(page: Path) -> set[str]:
    """Return the anchors that the headings of a page have on GitHub."""
    text = _CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("kind", ["packages", "apps"])
def test_every_room_has_a_paragraph(repository: Path, kind: str) -> None:
    text = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = [folder.name for folder in (repository / kind).iterdir() if (folder / "pyproject.toml").exists()]
    assert rooms
    missing = [room for room in rooms if f"\n**`{kind}/{room}`**" not in text]
    assert not missing, f"docs/architecture.md has no paragraph on {missing}"


def test_every_relative_link_leads_somewhere(repository: Path) -> None:
    broken: list[str] = []
    for page in _pages(repository):
        text = _CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))
        for link in _LINK.findall(text):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = (page.parent / name).resolve() if name else page
            is_page = target.suffix == ".md" and target.exists()
            if not target.exists() or (anchor and is_page and anchor not in _anchors(target)):
                broken.append(f"{page.relative_to(repository)}: {link}")
    assert not broken


def test_every_test_that_is_named_exists(repository: Path) -> None:
    named = {
        (page, name) for page in _pages(repository) for name in _TEST_FILE.findall(page.read_text(encoding="utf-8"))
    }
    missing = sorted(
        f"{page.relative_to(repository)}: {name}" for page, name in named if not (repository / name).exists()
    )
    assert not missing
