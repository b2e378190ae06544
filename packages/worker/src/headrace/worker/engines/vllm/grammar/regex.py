"""Regular expressions as grammars: the part of their notation that every dialect reads alike.

What looks around itself, refers back or knows about words is refused by name. A repetition is greedy or not as it
likes: that changes what is found first in a text, and not what matches as a whole.
"""

from collections.abc import Callable
from typing import NoReturn

from msgspec import Struct

from headrace.worker.engines.vllm.grammar.ebnf import LAST_CODE_POINT, Ranges, invert, ranges_of, unite
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError

MAX_PATTERN_CHARACTERS = 4096
MAX_REPEATS = 1000
MAX_POSITIONS = 4000
_MAX_DEPTH = 50

_DIGITS: Ranges = ((0x30, 0x39),)
_WORD: Ranges = unite([(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)])
_SPACE = ranges_of(" \t\n\r\f\v")
_LINE_ENDS = ranges_of("\n\r\u2028\u2029")
# What a class has in one dialect or another: some count the digits and letters of all scripts, some only ASCII's.
_WIDE_DIGITS = unite([*_DIGITS, (0x660, LAST_CODE_POINT)])
_WIDE_WORD = unite([*_WORD, (0x80, LAST_CODE_POINT)])
_OTHER_SPACE = ranges_of("\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff")
_WIDE_SPACE = unite([*_SPACE, (0x1C, 0x1F), *_OTHER_SPACE, (0x2000, 0x200A)])
# What it has in all of them, for where it is used, and what it has in any, for where everything else is.
_CLASSES = {
    "d": (_DIGITS, _WIDE_DIGITS),
    "D": (invert(_WIDE_DIGITS), invert(_DIGITS)),
    "w": (_WORD, _WIDE_WORD),
    "W": (invert(_WIDE_WORD), invert(_WORD)),
    "s": (_SPACE, _WIDE_SPACE),
    "S": (invert(_WIDE_SPACE), invert(_SPACE)),
}
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v"}
_HEX_DIGITS = {"x": 2, "u": 4}
_SPECIAL = frozenset("|)")
_COUNTED_PARTS = 2
_SIGNS: dict[tuple[int, int | None], str] = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}


class CharacterSet(Struct, frozen=True):
    """One character out of a set."""

    ranges: Ranges


class Anchor(Struct, frozen=True):
    """The beginning (`^`) or the end (`$`) of the text."""

    is_end: bool


class Sequence(Struct, frozen=True):
    """One after the other."""

    items: "tuple[Node, ...]"


class Choice(Struct, frozen=True):
    """One of them."""

    options: "tuple[Node, ...]"


class Repeat(Struct, frozen=True):
    """The same several times; without an upper bound where `most` is None."""

    item: "Node"
    least: int
    most: int | None


Node = CharacterSet | Anchor | Sequence | Choice | Repeat


def parse_regex(pattern: str) -> Node:
    """Return what a pattern says, without its outer anchors: it stands for whole texts.

    Raises:
        GrammarRefusedError: it is no regular expression, or more than one can be held to.
    """
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise GrammarRefusedError(f"the regular expression has more than {MAX_PATTERN_CHARACTERS} characters")
    node = _Parser(pattern).parse()
    node = _strip_anchors(node, at_start=True, at_end=True)
    if _count_positions(node) > MAX_POSITIONS:
        raise GrammarRefusedError("the regular expression repeats too much")
    return node


def write_regex(node: Node, write_set: Callable[[Ranges], str]) -> str:
    """Return the expression for what a parsed pattern matches.

    Args:
        node: without anchors.
        write_set: returns the expression for one character out of a set.
    """
    match node:
        case CharacterSet(ranges):
            return write_set(ranges)
        case Sequence(items):
            return " ".join(write_regex(item, write_set) for item in items) or '""'
        case Choice(options):
            return f"({' | '.join(write_regex(option, write_set) for option in options)})"
        case Repeat(item, least, most):
            inner = write_regex(item, write_set)
            if not isinstance(item, CharacterSet):
                inner = f"({inner})"
            return _write_repeat(inner, least, most, is_one_character=isinstance(item, CharacterSet))
        case Anchor():
            raise AssertionError("anchors are gone by now")


def measure(node: Node) -> tuple[int, int | None]:
    """Return how many characters a match has, at least and at most."""
    match node:
        case CharacterSet():
            return 1, 1
        case Anchor():
            return 0, 0
        case Sequence(items):
            sizes = [measure(item) for item in items]
            return sum(least for least, _ in sizes), _sum_or_none([most for _, most in sizes])
        case Choice(options):
            sizes = [measure(option) for option in options]
            mosts = [most for _, most in sizes]
            return min(least for least, _ in sizes), None if None in mosts else max(filter(None, mosts), default=0)
        case Repeat(item, least, most):
            size = measure(item)
            return size[0] * least, 0 if size[1] == 0 else None if size[1] is None or most is None else size[1] * most


def shorten(node: Node, most: int) -> Node | None:
    """Return what of a pattern has at most so many characters, or None: it repeats less, and leaves options out."""
    least, longest = measure(node)
    if least > most:
        return None
    if longest is not None and longest <= most:
        return node
    match node:
        case Choice(options):
            fitting = [fit for option in options if (fit := shorten(option, most)) is not None]
            return Choice(tuple(fitting))
        case Sequence(items):
            fitted: list[Node] = []
            spare = most - least
            for item in items:
                own = measure(item)[0]
                fit = shorten(item, own + spare) or item
                fitted.append(fit)
                spare -= (measure(fit)[1] or 0) - own
            return Sequence(tuple(fitted))
        case Repeat(item, fewest, _):
            # The first repetitions get no more than their share, so that the count alone bounds the whole.
            each = shorten(item, max(measure(item)[0], most // max(1, fewest))) or item
            return Repeat(each, fewest, max(fewest, most // max(1, measure(each)[1] or 1)))
        case _:
            return node


def _sum_or_none(values: list[int | None]) -> int | None:
    return None if None in values else sum(filter(None, values))


def _write_repeat(inner: str, least: int, most: int | None, *, is_one_character: bool) -> str:
    if sign := _SIGNS.get((least, most)):
        return inner + sign
    if is_one_character:
        return f"{inner}{{{least},{'' if most is None else most}}}"
    # xgrammar counts groups at every token, for seconds; written out they become one automaton.
    copies = " ".join([inner] * least)
    if most is None:
        return f"{copies} {inner}*"
    optional = ""
    for _ in range(most - least):
        optional = f"({inner} {optional})?".replace(" )", ")")
    return f"({copies} {optional})" if copies or optional else '""'


def _count_positions(node: Node) -> int:
    match node:
        case CharacterSet() | Anchor():
            return 1
        case Sequence(items) | Choice(items):
            return sum(map(_count_positions, items))
        case Repeat(CharacterSet(), _, _):
            return 1
        case Repeat(item, least, most):
            return _count_positions(item) * max(1, least, most or 0)


def _strip_anchors(node: Node, *, at_start: bool, at_end: bool) -> Node:
    match node:
        case CharacterSet():
            return node
        case Anchor(is_end):
            if not (at_end if is_end else at_start):
                raise GrammarRefusedError("the regular expression has an anchor (^ or $) in its middle")
            return Sequence(())
        case Choice(options):
            return Choice(tuple(_strip_anchors(option, at_start=at_start, at_end=at_end) for option in options))
        case Repeat(item, least, most):
            return Repeat(_strip_anchors(item, at_start=False, at_end=False), least, most)
        case Sequence(items):
            sizes = [measure(item)[1] for item in items]
            return Sequence(
                tuple(
                    _strip_anchors(
                        item,
                        at_start=at_start and not any(sizes[:i]) and None not in sizes[:i],
                        at_end=at_end and not any(sizes[i + 1 :]) and None not in sizes[i + 1 :],
                    )
                    for i, item in enumerate(items)
                )
            )


class _Parser:
    """Reads a pattern from left to right."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._read_choice()
        if self._at < len(self._pattern):
            self._refuse("has a ) too many")
        return node

    def _refuse(self, what: str) -> NoReturn:
        raise GrammarRefusedError(f"the regular expression {what}, at character {self._at}")

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            self._refuse("ends too early")
        self._at += 1
        return character

    def _skip(self, text: str) -> bool:
        if found := self._pattern.startswith(text, self._at):
            self._at += len(text)
        return found

    def _read_choice(self) -> Node:
        options = [self._read_sequence()]
        while self._skip("|"):
            options.append(self._read_sequence())
        return options[0] if len(options) == 1 else Choice(tuple(options))

    def _read_sequence(self) -> Node:
        items: list[Node] = []
        while (character := self._peek()) and character not in _SPECIAL:
            items.append(self._read_repeat())
        return items[0] if len(items) == 1 else Sequence(tuple(items))

    def _read_repeat(self) -> Node:
        item = self._read_item()
        while (count := self._read_count()) is not None:
            if isinstance(item, Anchor):
                self._refuse("repeats an anchor")
            if self._skip("+"):
                self._refuse("has a possessive repetition, which is not supported")
            self._skip("?")
            item = _repeat(item, *count)
        return item

    def _read_count(self) -> tuple[int, int | None] | None:
        for sign, count in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._skip(sign):
                return count
        end = self._pattern.find("}", self._at)
        if self._peek() != "{" or end < 0:
            return None
        parts = self._pattern[self._at + 1 : end].split(",")
        if len(parts) > _COUNTED_PARTS or not all(part.isascii() and part.isdigit() for part in parts if part):
            return None
        if not parts[0]:
            return None
        self._at = end + 1
        return self._check_count(int(parts[0]), int(parts[-1]) if parts[-1] else None)

    def _check_count(self, least: int, most: int | None) -> tuple[int, int | None]:
        if most is not None and most < least:
            self._refuse("has a repetition whose end lies before its beginning")
        if least > MAX_REPEATS:
            self._refuse(f"repeats more than {MAX_REPEATS} times")
        return least, most if most is None else min(most, MAX_REPEATS)

    def _read_item(self) -> Node:
        character = self._take()
        match character:
            case "(":
                return self._read_group()
            case "[":
                return CharacterSet(self._read_set())
            case ".":
                return CharacterSet(invert(_LINE_ENDS))
            case "^" | "$":
                return Anchor(character == "$")
            case "\\":
                return CharacterSet(self._read_escape())
            case _:
                return CharacterSet(self._check_literal(character))

    def _check_literal(self, character: str) -> Ranges:
        if character in "*+?":
            self._refuse("repeats nothing")
        return ranges_of(character)

    def _read_group(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self._refuse("is nested too deeply")
        if self._skip("?"):
            self._read_group_kind()
        node = self._read_choice()
        if not self._skip(")"):
            self._refuse("lacks a )")
        self._depth -= 1
        return node

    def _read_group_kind(self) -> None:
        if self._skip(":"):
            return
        named = self._skip("P<") or (self._peek() == "<" and self._pattern[self._at + 1 : self._at + 2] not in "=!")
        end = self._pattern.find(">", self._at)
        if not named or end < 0:
            self._refuse("looks around itself or sets options, which is not supported")
        self._at = end + 1

    def _read_set(self) -> Ranges:
        is_negated = self._skip("^")
        if self._peek() == "]":
            self._refuse("has an empty set")
        ranges: list[tuple[int, int]] = []
        while not self._skip("]"):
            ranges.extend(self._read_set_member(is_negated=is_negated))
        united = unite(ranges)
        return invert(united) if is_negated else united

    def _read_set_member(self, *, is_negated: bool) -> Ranges:
        low = self._read_set_character(is_wide=is_negated)
        following = self._pattern[self._at + 1 : self._at + 2]
        if self._peek() != "-" or following in ("]", ""):
            return low
        self._take()
        high = self._read_set_character(is_wide=is_negated)
        if len(low) != 1 or len(high) != 1 or low[0][0] != low[0][1] or high[0][0] != high[0][1]:
            self._refuse("has a range of classes")
        if high[0][0] < low[0][0]:
            self._refuse("has a range whose end lies before its beginning")
        return ((low[0][0], high[0][0]),)

    def _read_set_character(self, *, is_wide: bool) -> Ranges:
        character = self._take()
        if character == "[" and self._peek() in (":", ".", "="):
            self._refuse("has a POSIX class, which is not supported")
        return self._read_escape(is_wide=is_wide) if character == "\\" else ranges_of(character)

    def _read_escape(self, *, is_wide: bool = False) -> Ranges:
        character = self._take()
        if character in _CLASSES:
            return _CLASSES[character][is_wide]
        if character in _CONTROLS:
            return ranges_of(_CONTROLS[character])
        if character in _HEX_DIGITS:
            return self._read_code(_HEX_DIGITS[character])
        if character.isalnum():
            self._refuse(f"has \\{character}, which is not supported")
        return ranges_of(character)

    def _read_code(self, digits: int) -> Ranges:
        text = self._pattern[self._at : self._at + digits]
        try:
            code = int(text, 16) if len(text) == digits and text.isalnum() else LAST_CODE_POINT + 1
        except ValueError:
            code = LAST_CODE_POINT + 1
        if code > LAST_CODE_POINT:
            self._refuse("has a character code that is none")
        self._at += digits
        return ((code, code),)


def _repeat(item: Node, least: int, most: int | None) -> Node:
    # (a*)* is a*: without this, what repeats nothing can be read in more ways than there is time for.
    if isinstance(item, Repeat) and item.most is None and item.least <= 1 and most != 0 and least <= 1:
        return Repeat(item.item, item.least * least, None)
    return Repeat(item, least, most)
