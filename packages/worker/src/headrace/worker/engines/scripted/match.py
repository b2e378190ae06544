"""The smallest text that a simple regular expression matches.

Simple is a row of characters, escapes and classes, each with a count: no groups, no alternatives. Nothing is ever
matched here, so no expression of a client can keep the event loop busy.
"""

import re

MOST_CHARACTERS = 1000

_PIECE = re.compile(
    r"(\\.|\[[^\]^\\][^\]\\]*\]|\[\\[dws]\]|[^\\\[\](){}*+?|.^$]|\.)(?:\{(\d{1,4})(?:,\d*)?\}|([*+?]))?"
)
_KINDS = {"d": "0", "w": "a", "s": " ", "n": "\n", "t": "\t"}


def make_match(pattern: str) -> str | None:
    """Return the smallest text that the whole expression matches, or None where it is not simple."""
    body = pattern.removeprefix("^").removesuffix("$")
    made: list[str] = []
    place = 0
    while place < len(body):
        piece = _PIECE.match(body, place)
        if piece is None or (one := _make_one(piece[1])) is None:
            return None
        least = int(piece[2]) if piece[2] else (0 if piece[3] in ("*", "?") else 1)
        made.append(one * least)
        if sum(map(len, made)) > MOST_CHARACTERS:
            return None
        place = piece.end()
    return "".join(made)


def _make_one(atom: str) -> str | None:
    """Return one character that a piece without its count matches."""
    if atom == ".":
        return "x"
    if atom.startswith("["):
        return _KINDS[atom[2]] if atom[1] == "\\" else atom[1]
    if atom.startswith("\\") and atom[1].isalnum():
        return _KINDS.get(atom[1])
    return atom[-1]
