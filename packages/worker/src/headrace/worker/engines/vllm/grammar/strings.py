"""JSON strings: of any text, of a length, of a pattern, of a format."""

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.worker.engines.vllm.grammar.ebnf import Ranges, Rules, intersect, invert, unite, write_set, write_text
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError, NothingFitsError
from headrace.worker.engines.vllm.grammar.regex import Node, measure, parse_regex, shorten, write_regex

MAX_LENGTH = 65_536

_QUOTE = '"\\""'
# What may stand in a JSON string as it is. Lone halves of surrogate pairs are no text at all.
_PLAIN = invert(unite([(0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0x7F, 0x7F), (0xD800, 0xDFFF)]))
# After "\u": any four digits that are a character by themselves.
_ESCAPE = '"\\\\" (["\\\\/bfnrt] | "u" ([0-9a-cA-CefEF] [0-9a-fA-F]{3} | [dD] [0-7] [0-9a-fA-F]{2}))'
_ESCAPABLE = {0x22: '"', 0x5C: "\\", 0x08: "b", 0x0C: "f", 0x0A: "n", 0x0D: "r", 0x09: "t"}

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_DATE = (
    "[1-9][0-9]{3}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_TIME = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\\.[0-9]{1,6})?(?:Z|[+\\-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
_LABEL = "[a-z0-9](?:[a-z0-9\\-]{0,30}[a-z0-9])?"
_HEX = "[0-9a-fA-F]"
# Formats that are kept to; each pattern allows a part of what the format does. Others are mere annotations, as JSON
# Schema has it.
FORMATS = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f"{_DATE}T{_TIME}",
    "duration": "P(?:[0-9]{1,6}W|[0-9]{1,6}D(?:T[0-9]{1,6}[HMS])?|T[0-9]{1,6}[HMS])",
    "email": f"[A-Za-z0-9](?:[A-Za-z0-9_+\\-]{{0,30}}[A-Za-z0-9])?@{_LABEL}(?:\\.{_LABEL}){{0,3}}\\.[a-z]{{2,12}}",
    "hostname": f"{_LABEL}(?:\\.{_LABEL}){{0,4}}",
    "ipv4": f"{_OCTET}(?:\\.{_OCTET}){{3}}",
    "ipv6": f"{_HEX}{{1,4}}(?::{_HEX}{{1,4}}){{7}}|::(?:{_HEX}{{1,4}}:){{0,5}}{_HEX}{{1,4}}",
    "uuid": f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    "uri": "[a-zA-Z][a-zA-Z0-9+.\\-]{0,20}:[A-Za-z0-9\\-._~:/?#@!$&'()*+,;=]{1,500}",
}


def write_json(value: Any) -> str:
    """Return the expression for exactly this value."""
    try:
        return write_text(msgspec.json.encode(value).decode())
    except (OverflowError, UnicodeEncodeError) as error:
        raise GrammarRefusedError("it has a value that is no JSON") from error


def any_string(rules: Rules) -> str:
    """Return the expression for any JSON string."""
    return f"{_QUOTE} {string_rest(rules)}"


def string_rest(rules: Rules) -> str:
    """Return the expression for any JSON string whose first quote has been written."""
    escape = rules.add(_ESCAPE)
    # As a rule that refers to itself a string costs next to nothing at each token, as a repetition it costs a lot.
    return rules.add_recursive(lambda itself: f"{_QUOTE} | {write_set(_PLAIN)} {itself} | {escape} {itself}")


def write_string(rules: Rules, schema: Mapping[str, Any]) -> str:
    """Return the expression for the strings that a schema accepts.

    Raises:
        GrammarRefusedError: it has conditions that can't be kept to together.
    """
    least, most = schema.get("minLength", 0), schema.get("maxLength")
    pattern = _find_pattern(schema)
    if pattern is not None:
        return _write_pattern(pattern, least=least, most=most)
    if not least and most is None:
        return any_string(rules)
    if most is not None and most < least:
        raise NothingFitsError("no text has a length between minLength and maxLength")
    if least > MAX_LENGTH:
        raise GrammarRefusedError(f"minLength is above {MAX_LENGTH}")
    count = f"{{{least},}}" if most is None else f"{{{least},{min(most, MAX_LENGTH)}}}"
    return f"{_QUOTE} {write_set(_PLAIN)}{count} {_QUOTE}"


def _find_pattern(schema: Mapping[str, Any]) -> Node | None:
    pattern, known = schema.get("pattern"), FORMATS.get(schema.get("format", ""))
    if pattern is not None and known is not None:
        raise GrammarRefusedError("pattern and format can't be kept to together")
    chosen = pattern if pattern is not None else known
    return None if chosen is None else parse_regex(chosen)


def _write_pattern(node: Node, *, least: int, most: int | None) -> str:
    fitting = node if most is None else shorten(node, most)
    if fitting is None:
        raise NothingFitsError("what the pattern or format matches is longer than maxLength")
    if measure(fitting)[0] < least:
        raise GrammarRefusedError("minLength can't be kept to beside a pattern or format that matches shorter texts")
    node = fitting
    return f"{_QUOTE} {write_regex(node, write_string_set)} {_QUOTE}"


def write_string_set(ranges: Ranges) -> str:
    """Return the expression for one character out of a set, inside a JSON string."""
    if plain := intersect(ranges, _PLAIN):
        return write_set(plain)
    for code, letter in _ESCAPABLE.items():
        if any(low <= code <= high for low, high in ranges):
            return write_text(f"\\{letter}")
    raise GrammarRefusedError("the pattern needs a character that JSON has no text for")


def write_key_pattern(pattern: str) -> str:
    """Return the expression for the property names that a pattern matches."""
    return _write_pattern(parse_regex(pattern), least=0, most=None)


def write_other_key(rules: Rules, names: list[str]) -> str:
    """Return the expression for any property name but these, written without escapes."""
    return f"{_QUOTE} {_other_rest(rules, sorted(set(names)))}"


def _other_rest(rules: Rules, endings: list[str]) -> str:
    """Return what may follow where these endings may not."""
    if not endings:
        return rules.add_recursive(lambda itself: f"{_QUOTE} | {write_set(_PLAIN)} {itself}")
    following: dict[str, list[str]] = {}
    for ending in endings:
        if ending:
            following.setdefault(ending[0], []).append(ending[1:])
    options = [] if "" in endings else [_QUOTE]
    taken = unite((ord(first), ord(first)) for first in following)
    free = write_set(intersect(_PLAIN, invert(taken)))
    options.append(f"{free} {_other_rest(rules, [])}")
    for first, rests in following.items():
        if intersect(_PLAIN, ((ord(first), ord(first)),)):
            options.append(f"{write_text(first)} {_other_rest(rules, rests)}")
    return rules.add(" | ".join(options))
