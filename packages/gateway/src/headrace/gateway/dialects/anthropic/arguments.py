"""From the arguments of a call, as the model wrote them, to the object that Anthropic shows.

An answer that ran out of tokens may end inside a call. A client that reads a stream keeps what of it is whole, and so
does a whole answer: the text is cut after its last whole value, and what is open there is closed.
"""

import re
from collections.abc import Iterator
from typing import Any, cast

import msgspec

INVALID_JSON = "INVALID_JSON"
"""The key under which Anthropic wants arguments that are no object."""

_TOKEN = re.compile(
    r"""[ \t\n\r]*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
        |(?P<mark>[{}\[\],:])
        |(?P<scalar>(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?=[\s,}\]]|$))
    )""",
    re.VERBOSE | re.DOTALL,
)
_CLOSERS = {"{": "}", "[": "]"}
_CLOSING = frozenset(_CLOSERS.values())
_BRACKETS = _CLOSING | _CLOSERS.keys()


def to_input(arguments: str) -> dict[str, Any]:
    """Return the object, or as much of it as is there."""
    if not arguments.strip():
        return {}
    value = _decode(arguments)
    if not isinstance(value, dict):
        value = _decode(_close(arguments))
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {INVALID_JSON: arguments}


def _decode(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _close(text: str) -> str:
    """Return the longest beginning of an object that ends with a whole value, with its brackets closed."""
    closers: list[str] = []
    end, closed = 0, ""
    is_key = False
    for token in _tokens(text):
        mark = token["mark"] or ""
        if mark in _CLOSERS:
            closers.append(_CLOSERS[mark])
        elif mark in _CLOSING and (not closers or closers.pop() != mark):
            break
        if mark in _BRACKETS or (not mark and not is_key):
            end, closed = token.end(), "".join(reversed(closers))
        if not closers:
            break
        is_key = mark == "{" or (mark == "," and closers[-1] == "}")
    return text[:end] + closed


def _tokens(text: str) -> Iterator[re.Match[str]]:
    position = 0
    while token := _TOKEN.match(text, position):
        yield token
        position = token.end()
