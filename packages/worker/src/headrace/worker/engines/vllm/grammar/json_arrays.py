"""JSON arrays."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from headrace.worker.engines.vllm.grammar.ebnf import Rules
from headrace.worker.engines.vllm.grammar.json_values import JsonValues
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError, NothingFitsError

MAX_COUNTED = 256
MAX_SET = 64


class SubschemaWriter(Protocol):
    """Writes the schemas inside a schema."""

    def write(self, schema: Any) -> str:
        """Return the expression for a subschema."""
        ...

    def list_values(self, schema: Any) -> list[str] | None:
        """Return the expressions of all values that a subschema accepts, where it is an enum."""
        ...

    def at(self, place: str) -> AbstractContextManager[None]:
        """Within this, what is refused is refused at a place below."""
        ...


def write_array(rules: Rules, values: JsonValues, schema: Mapping[str, Any], writer: SubschemaWriter) -> str:
    """Return the expression for the arrays that a flat schema accepts.

    Raises:
        NothingFitsError: there are none.
        GrammarRefusedError: a condition can't be kept to.
    """
    least, most = int(schema.get("minItems", 0)), schema.get("maxItems")
    if least > MAX_COUNTED:
        raise GrammarRefusedError(f"minItems is above {MAX_COUNTED}")
    most = None if most is None else min(int(most), MAX_COUNTED)
    if schema.get("uniqueItems") and most not in (0, 1):
        return _write_set(rules, values, schema, writer)
    items, rest = _write_items(schema, writer)
    if rest is None:
        most = len(items) if most is None else min(most, len(items))
    if most is not None and most < least:
        raise NothingFitsError("no array has a length between minItems and maxItems")
    return _write_counted(rules, values, items=items, rest=rest, least=least, most=most)


def _write_items(schema: Mapping[str, Any], writer: SubschemaWriter) -> tuple[list[str], str | None]:
    """Return the expressions of the first items, and that of the others, if there may be any."""
    prefix: list[Any] = schema.get("prefixItems", [])
    items: list[str] = []
    for i, item in enumerate(prefix[:MAX_COUNTED]):
        try:
            with writer.at(f"prefixItems[{i}]"):
                items.append(writer.write(item))
        except NothingFitsError:
            return items, None
    # Where the first items are named and the others are not, there are no others.
    rest = schema.get("items", not prefix)
    if rest is False or len(prefix) > MAX_COUNTED:
        return items, None
    try:
        with writer.at("items"):
            return items, writer.write(rest)
    except NothingFitsError:
        return items, None


def _write_counted(
    rules: Rules, values: JsonValues, *, items: list[str], rest: str | None, least: int, most: int | None
) -> str:
    space = values.space
    end = f'{space} "]"'
    counted = max(least, len(items)) if most is None else most
    following = end
    if most is None:
        following = rules.add_recursive(lambda itself: f'{end} | "," {space} {rest} {itself}')
    for i in reversed(range(1, counted)):
        item = items[i] if i < len(items) else rest
        more = f'"," {space} {item} {following}'
        following = rules.add(f"{end} | {more}" if i >= least else more)
    first = items[0] if items else rest
    if most == 0:
        return f'"[" {space} "]"'
    whole = f"{first} {following}"
    return f'"[" {space} ' + (whole if least else f'("]" | {whole})')


def _write_set(rules: Rules, values: JsonValues, schema: Mapping[str, Any], writer: SubschemaWriter) -> str:
    """Return the expression for arrays of different values: they must be listed, and come in the list's order."""
    listed = None if "prefixItems" in schema else writer.list_values(schema.get("items", True))
    if listed is None or len(listed) > MAX_SET:
        raise GrammarRefusedError(
            f"uniqueItems can be kept to only where items are an enum of at most {MAX_SET} values"
        )
    least, most = int(schema.get("minItems", 0)), min(int(schema.get("maxItems", len(listed))), len(listed))
    if least > most:
        raise NothingFitsError("no array of different values has a length between minItems and maxItems")
    end = f'{values.space} "]"'
    # By how many values have come: what may follow once the values up to one have been passed.
    following = [rules.add(end) if count >= least else None for count in range(most + 1)]
    for value in reversed(listed):
        item = f"{values.space} {value}"
        following = [
            _choose(rules, item if count == 0 else f'"," {item}', following, count) for count in range(most + 1)
        ]
    if following[0] is None:
        raise NothingFitsError("no array of different values is long enough")
    return f'"[" {following[0]}'


def _choose(rules: Rules, taken: str, following: list[str | None], count: int) -> str | None:
    """Return what may follow before a value, which is taken or passed over."""
    after = following[count + 1] if count + 1 < len(following) else None
    options = [] if after is None else [f"{taken} {after}"]
    passed = following[count]
    return rules.add(" | ".join(options + ([passed] if passed else []))) if options or passed else None
