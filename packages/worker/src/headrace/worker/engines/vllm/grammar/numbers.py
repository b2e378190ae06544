"""JSON numbers: of a range, as multiples of something.

Bounds are met digit by digit: `3 <= n <= 120` is `[3-9]`, `[1-9][0-9]`, `1[01][0-9]` or `120`. What has no bound gets
one that the number types of every language have room for.
"""

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from headrace.worker.engines.vllm.grammar.ebnf import Rules, write_choice
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError, NothingFitsError

_LARGEST = 10**18 - 1
_MAX_DECIMALS = 15
_USUAL_DECIMALS = 6
_MAX_LISTED = 512
_MAX_REMAINDERS = 128

ANY_INTEGER = '("0" | "-"? [1-9] [0-9]{0,17})'
ANY_NUMBER = '"-"? ("0" | [1-9] [0-9]{0,14}) ("." [0-9]{1,15})? ([eE] [+\\-]? [0-9]{1,2})?'


def write_integer(rules: Rules, schema: Mapping[str, Any]) -> str:
    """Return the expression for the integers that a schema accepts.

    Raises:
        NothingFitsError: there are none.
        GrammarRefusedError: `multipleOf` can't be kept to.
    """
    low, high = _read_bounds(schema, decimals=0)
    if (step := schema.get("multipleOf", 1)) != 1:
        return _write_multiples(rules, _read_step(step), low, high)
    if low is None and high is None:
        return ANY_INTEGER
    return write_choice(_write_range(low, high, decimals=0))


def write_number(rules: Rules, schema: Mapping[str, Any]) -> str:
    """Return the expression for the numbers that a schema accepts; see `write_integer`."""
    if "multipleOf" in schema:
        return write_integer(rules, schema)
    if _read_bounds(schema, decimals=0) == (None, None):
        return ANY_NUMBER
    options = [option for decimals in range(_USUAL_DECIMALS + 1) for option in _write_decimals(schema, decimals)]
    for decimals in range(_USUAL_DECIMALS + 1, _MAX_DECIMALS + 1):
        options = options or list(_write_decimals(schema, decimals))
    if not options:
        raise NothingFitsError("no number lies between the minimum and the maximum")
    return write_choice(options)


def _write_decimals(schema: Mapping[str, Any], decimals: int) -> Iterator[str]:
    low, high = _read_bounds(schema, decimals=decimals)
    try:
        yield from _write_range(low, high, decimals=decimals)
    except NothingFitsError:
        return


def _read_step(step: float) -> int:
    if step <= 0 or step != int(step):
        raise GrammarRefusedError("multipleOf must be a whole number above 0")
    return int(step)


def _read_bounds(schema: Mapping[str, Any], *, decimals: int) -> tuple[int | None, int | None]:
    """Return the least and the greatest number, in units of the last decimal."""
    unit = Decimal(10) ** decimals
    lows: list[int] = []
    highs: list[int] = []
    for name, strict_name, values, is_low in (
        ("minimum", "exclusiveMinimum", lows, True),
        ("maximum", "exclusiveMaximum", highs, False),
    ):
        strict, plain = schema.get(strict_name), schema.get(name)
        if strict is True and plain is not None:
            # The form of draft 4.
            strict, plain = plain, None
        if plain is not None:
            values.append(_round(_to_decimal(plain) * unit, up=is_low))
        if strict is not None and strict is not False:
            inner = _to_decimal(strict) * unit
            values.append(_round(inner, up=not is_low) + (1 if is_low else -1))
    return max(lows, default=None), min(highs, default=None)


def _to_decimal(value: float) -> Decimal:
    number = Decimal(str(value))
    if not number.is_finite() or abs(number.adjusted()) > _MAX_DECIMALS * 20:
        raise GrammarRefusedError("a bound is out of range")
    return number


def _round(number: Decimal, *, up: bool) -> int:
    return math.ceil(number) if up else math.floor(number)


def _write_range(low: int | None, high: int | None, *, decimals: int) -> list[str]:
    """Return the expressions for the numbers between two, which are in units of the last decimal."""
    low = max(-_LARGEST, low) if low is not None else -_LARGEST
    high = min(_LARGEST, high) if high is not None else _LARGEST
    if low > high:
        raise NothingFitsError("no number lies between the minimum and the maximum")
    options = [_with_point(digits, decimals) for digits in _from_zero(max(low, 0), high, decimals)]
    below = [_with_point(digits, decimals) for digits in _from_zero(max(-high, 1), -low, decimals)]
    return options + [f'"-" {option}' for option in below]


# Digits from left to right, each a range.
_Digits = list[tuple[str, str]]


def _from_zero(low: int, high: int, decimals: int) -> Iterator[_Digits]:
    """Yield what the numbers between two look like, neither of them negative."""
    if low > high:
        return
    shortest = decimals + 1
    for length in range(max(shortest, len(str(low))), max(shortest, len(str(high))) + 1):
        first = max(low, 10 ** (length - 1) if length > shortest else 0)
        last = min(high, 10**length - 1)
        if first <= last:
            yield from _between(f"{first:0{length}}", f"{last:0{length}}")


def _between(low: str, high: str) -> Iterator[_Digits]:
    """Yield what the texts of digits between two of one length look like."""
    if not low:
        yield []
        return
    rest = len(low) - 1
    free = [("0", "9")] * rest
    first, last = low[0], high[0]
    if first == last:
        for tail in _between(low[1:], high[1:]):
            yield [(first, first), *tail]
        return
    begins_whole, ends_whole = low[1:] == "0" * rest, high[1:] == "9" * rest
    if not begins_whole:
        for tail in _between(low[1:], "9" * rest):
            yield [(first, first), *tail]
    middle = (first if begins_whole else _next(first, 1), last if ends_whole else _next(last, -1))
    if middle[0] <= middle[1]:
        yield [middle, *free]
    if not ends_whole:
        for tail in _between("0" * rest, high[1:]):
            yield [(last, last), *tail]


def _next(digit: str, step: int) -> str:
    return chr(ord(digit) + step)


def _with_point(digits: _Digits, decimals: int) -> str:
    parts = [f'"{low}"' if low == high else f"[{low}-{high}]" for low, high in digits]
    if decimals:
        parts.insert(len(parts) - decimals, '"."')
    return _count_repeats(parts)


def _count_repeats(parts: list[str]) -> str:
    written: list[str] = []
    at = 0
    while at < len(parts):
        end = at
        while end < len(parts) and parts[end] == parts[at]:
            end += 1
        written.append(parts[at] if end - at == 1 else f"{parts[at]}{{{end - at}}}")
        at = end
    return " ".join(written)


def _write_multiples(rules: Rules, step: int, low: int | None, high: int | None) -> str:
    if low is not None and high is not None:
        first, last = -(-low // step), high // step
        if first > last:
            raise NothingFitsError("no multiple lies between the minimum and the maximum")
        if last - first < _MAX_LISTED:
            return write_choice(f'"{number * step}"' for number in range(first, last + 1))
    if step > _MAX_REMAINDERS or high is not None or low not in (None, 0, 1):
        raise GrammarRefusedError(f"multipleOf {step} can't be kept to between these bounds")
    positive = _write_remainders(rules, step)
    signed = f'"-"? {positive}' if low is None else positive
    return signed if low == 1 else f'("0" | {signed})'


def _write_remainders(rules: Rules, step: int) -> str:
    """Return the expression for the multiples above 0: one rule for each remainder of the digits so far."""
    names = [rules.reserve() for _ in range(step)]
    for remainder, name in enumerate(names):
        options = [f'"{digit}" {names[(remainder * 10 + digit) % step]}' for digit in range(10)]
        rules.define(name, " | ".join([*options, '""'] if remainder == 0 else options))
    first = [f'"{digit}" {names[digit % step]}' for digit in range(1, 10)]
    return f"({' | '.join(first)})"
