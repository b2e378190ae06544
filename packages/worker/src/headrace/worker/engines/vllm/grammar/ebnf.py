"""Writing EBNF in the notation of xgrammar: texts, sets of characters, rules."""

from collections.abc import Callable, Iterable, Sequence

from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError

MAX_GRAMMAR_CHARACTERS = 400_000
LAST_CODE_POINT = 0x10FFFF

# Ranges of code points, in order, without overlap.
Ranges = tuple[tuple[int, int], ...]

_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LAST_CONTROL = 0x1F
_LAST_ASCII = 0x7E
_LAST_OF_FOUR_DIGITS = 0xFFFF


class Rules:
    """The rules of a grammar as they are collected. Rules of the same body are one."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._size = 0

    def add(self, body: str) -> str:
        """Return the name of a rule with this body."""
        if (name := self._names.get(body)) is None:
            name = self.reserve()
            self._names[body] = name
            self.define(name, body)
        return name

    def add_recursive(self, write_body: Callable[[str], str]) -> str:
        """Return the name of a rule whose body, given that name, refers to itself."""
        key = write_body("<itself>")
        if (name := self._names.get(key)) is None:
            name = self.reserve()
            self._names[key] = name
            self.define(name, write_body(name))
        return name

    def reserve(self) -> str:
        """Return a name for a rule that is defined later, because it refers to itself."""
        name = f"r{len(self._bodies)}"
        self._bodies[name] = ""
        return name

    def define(self, name: str, body: str) -> None:
        """Give a reserved rule its body.

        Raises:
            GrammarRefusedError: the grammar has become too large.
        """
        self._size += len(body)
        if self._size > MAX_GRAMMAR_CHARACTERS:
            raise GrammarRefusedError("it is too large")
        self._bodies[name] = body

    def write(self, root: str) -> str:
        """Return the whole grammar, for an expression to begin with."""
        return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for name, body in self._bodies.items())])


def write_text(text: str) -> str:
    """Return the expression for exactly this text."""
    return f'"{"".join(map(_escape, text))}"'


def write_set(ranges: Ranges) -> str:
    """Return the expression for one character out of these."""
    inner = "".join(_code(low) if low == high else f"{_code(low)}-{_code(high)}" for low, high in ranges)
    return f"[{inner}]"


def write_choice(options: Iterable[str]) -> str:
    """Return the expression for one of some expressions."""
    distinct = list(dict.fromkeys(options))
    return distinct[0] if len(distinct) == 1 else f"({' | '.join(distinct)})"


def unite(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Return the same set in order, without overlap."""
    united: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if united and low <= united[-1][1] + 1:
            united[-1] = (united[-1][0], max(united[-1][1], high))
        else:
            united.append((low, high))
    return tuple(united)


def invert(ranges: Ranges) -> Ranges:
    """Return every other code point."""
    edges: list[tuple[int, int]] = []
    begin = 0
    for low, high in ranges:
        if low > begin:
            edges.append((begin, low - 1))
        begin = high + 1
    if begin <= LAST_CODE_POINT:
        edges.append((begin, LAST_CODE_POINT))
    return tuple(edges)


def intersect(left: Ranges, right: Ranges) -> Ranges:
    """Return the code points of both."""
    pairs = [(max(a, c), min(b, d)) for a, b in left for c, d in right]
    return unite((low, high) for low, high in pairs if low <= high)


def ranges_of(characters: Sequence[str]) -> Ranges:
    """Return the set of these characters."""
    return unite((ord(character), ord(character)) for character in characters)


def _escape(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    code = ord(character)
    return f"\\u{code:04x}" if code <= _LAST_CONTROL or code == _LAST_ASCII + 1 else character


def _code(code: int) -> str:
    if _LAST_CONTROL < code <= _LAST_ASCII and chr(code).isalnum():
        return chr(code)
    return f"\\u{code:04x}" if code <= _LAST_OF_FOUR_DIGITS else f"\\U{code:08x}"
