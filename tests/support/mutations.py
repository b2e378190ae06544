"""Breaks a good body, in ways that clients and their libraries do, and in ways that only an attacker does."""

from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any, cast

import msgspec

BAD_TEXTS: list[Any] = [
    "",
    " ",
    "\x00",
    "\u2028",
    "\u202e",
    "\ufffd",
    "🙂" * 8,
    "é" * 200,
    "x" * 5_000,
    "{}",
    "null",
    "-1",
    "auto",
]
BAD_NUMBERS: list[Any] = [
    0,
    -1,
    1,
    2,
    2**31,
    2**53 + 1,
    2**63,
    -(2**63),
    2**64 - 1,
    0.5,
    -0.0,
    1e308,
    1e-308,
    -1e9,
    1.0,
]
BAD_PLAIN: list[Any] = [None, True, False, [], {}, [[]], [None], {"": None}, {"type": "text"}, {"type": []}]
# What Python's own encoder writes where JSON has no word.
RAW = [
    "1" * 30,
    "-" + "1" * 30,
    "1" * 5_000,
    "NaN",
    "Infinity",
    "-Infinity",
    "1e400",
    "-1e400",
    '"\\ud800"',
    '"\\udfff\\ud800"',
    "01",
    "0x10",
    "'a'",
    "undefined",
]
MARK = "\u0001raw\u0001"

Path = tuple[str | int, ...]


def mutate(body: Any, luck: Random, *, times: int) -> bytes:
    """Return a body as JSON, or nearly, with some of its values exchanged, left out, doubled or renamed."""
    made = msgspec.json.decode(msgspec.json.encode(body))
    raws: list[str] = []
    for _ in range(times):
        made = _break_once(made, luck, raws)
    return _encode(made, raws)


def break_bytes(content: bytes, luck: Random) -> bytes:
    """Return JSON that was damaged on its way."""
    place = luck.randrange(len(content))
    return luck.choice(
        [
            content[:place],
            content[:place] + bytes([luck.randrange(256)]) + content[place + 1 :],
            content[:place] + b"\xff\xfe" + content[place:],
            content + content,
            content + b"x",
            b"\xef\xbb\xbf" + content,
            content.decode().encode("utf-16"),
            b"[" + content + b"]",
            _double_first_key(content),
            b"",
            b"null",
            b'"' + content[:place].replace(b'"', b"") + b'"',
        ]
    )


def nest(text: str, *, depth: int) -> str:
    """Return a value inside many lists."""
    return "[" * depth + text + "]" * depth


def _double_first_key(content: bytes) -> bytes:
    return b'{"model":7,' + content[1:] if content.startswith(b"{") else content


def _break_once(made: Any, luck: Random, raws: list[str]) -> Any:
    places = list(_list_places(made))
    if not places:
        return made
    place = luck.choice(places)
    match luck.randrange(6):
        case 0:
            return _drop(made, place)
        case 1:
            raws.append(nest("1", depth=luck.choice([3, 60, 300])) if luck.random() < 0.3 else luck.choice(RAW))
            return _put(made, place, f"{MARK}{len(raws) - 1}{MARK}")
        case 2:
            return _put(made, place, _take(made, luck.choice(places)))
        case 3:
            return _rename(
                made, place, luck.choice(["", "type", "content", "model", "n", "x" * 300, "__class__", "é\x00"])
            )
        case 4:
            found = _take(made, place)
            return _put(made, place, [deepcopy(found) for _ in range(luck.choice([0, 1, 3, 300]))])
        case _:
            return _put(made, place, luck.choice(luck.choice([BAD_TEXTS, BAD_NUMBERS, BAD_PLAIN])))


def _encode(made: Any, raws: list[str]) -> bytes:
    text = msgspec.json.encode(made).decode()
    for number, raw in enumerate(raws):
        word = msgspec.json.encode(f"{MARK}{number}{MARK}").decode()
        text = text.replace(word, raw)
    return text.encode()


def _list_places(value: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in cast("dict[str, Any]", value).items():
            yield from _list_places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[Any]", value)):
            yield from _list_places(item, (*path, number))


def _take(made: Any, path: Path) -> Any:
    for step in path:
        made = made[step]
    return made


def _put(made: Any, path: Path, value: Any) -> Any:
    # A copy: what lies in two places, and then in itself, has no end.
    _take(made, path[:-1])[path[-1]] = deepcopy(value)
    return made


def _drop(made: Any, path: Path) -> Any:
    del _take(made, path[:-1])[path[-1]]
    return made


def _rename(made: Any, path: Path, name: str) -> Any:
    inside = _take(made, path[:-1])
    if isinstance(inside, dict):
        fields = cast("dict[str | int, Any]", inside)
        fields[name] = fields.pop(path[-1])
    return made
