"""JSON objects: declared properties in their order, then others where there may be any."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from headrace.worker.engines.vllm.grammar.ebnf import Rules
from headrace.worker.engines.vllm.grammar.json_arrays import MAX_COUNTED, SubschemaWriter
from headrace.worker.engines.vllm.grammar.json_values import JsonValues
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError, NothingFitsError
from headrace.worker.engines.vllm.grammar.strings import (
    any_string,
    write_json,
    write_key_pattern,
    write_other_key,
    write_string,
)


class _Member(Struct, frozen=True):
    """A declared property: its expression with key and value, and whether it must be there."""

    written: str
    is_required: bool


class _Others(Struct, frozen=True):
    """Properties that are not declared: the expression of one, and how many there may be."""

    written: str
    most: int | None


def write_object(rules: Rules, values: JsonValues, schema: Mapping[str, Any], writer: SubschemaWriter) -> str:
    """Return the expression for the objects that a flat schema accepts.

    Raises:
        NothingFitsError: there are none.
        GrammarRefusedError: a condition can't be kept to.
    """
    required = _list_required(schema)
    properties = _declare(schema, required)
    least, most = int(schema.get("minProperties", 0)), schema.get("maxProperties")
    members = _write_members(properties, required, writer)
    members = _hold_to_counts(members, least=least, most=most)
    others = _write_others(rules, schema, writer, names=list(properties), taken=len(members), most=most)
    missing = least - sum(member.is_required for member in members)
    if missing > 0 and others is None:
        raise NothingFitsError("no object has as many properties as minProperties asks for")
    if missing > 1:
        raise GrammarRefusedError("minProperties can't be kept to where names may come twice")
    if others is None and not members:
        return f'"{{" {values.space} "}}"'
    return _write_chain(rules, values.space, members, others, needs_one=missing > 0)


def _list_required(schema: Mapping[str, Any]) -> list[str]:
    dependents: dict[str, list[str]] = schema.get("dependentRequired", {})
    # Required always is narrower than required sometimes.
    needed = [name for names in dependents.values() for name in names]
    return list(dict.fromkeys([*schema.get("required", []), *needed]))


def _declare(schema: Mapping[str, Any], required: list[str]) -> dict[str, Any]:
    """Return the declared properties, and those that are only required."""
    properties: dict[str, Any] = dict(schema.get("properties", {}))
    others = schema.get("additionalProperties", schema.get("unevaluatedProperties", True))
    for name in required:
        if name in properties:
            continue
        if "patternProperties" in schema or "propertyNames" in schema:
            raise GrammarRefusedError("required beside patternProperties or propertyNames can't be kept to")
        properties[name] = others
    return properties


def _write_members(properties: dict[str, Any], required: list[str], writer: SubschemaWriter) -> list[_Member]:
    members: list[_Member] = []
    for name, schema in properties.items():
        try:
            with writer.at(f"properties.{name}"):
                value = writer.write(schema)
        except NothingFitsError:
            if name in required:
                raise
            continue
        members.append(_Member(f'{write_json(name)} ":" " "? {value}', name in required))
    return members


def _hold_to_counts(members: list[_Member], *, least: int, most: int | None) -> list[_Member]:
    """Return the members so that there are neither too few nor too many."""
    needed = sum(member.is_required for member in members)
    if most is not None and needed > most:
        raise NothingFitsError("more properties are required than maxProperties allows")
    spare = len(members) if most is None else int(most) - needed
    kept: list[_Member] = []
    for member in members:
        if not member.is_required:
            if spare <= 0:
                continue
            spare -= 1
            if needed < least:
                needed += 1
                member = _Member(member.written, is_required=True)
        kept.append(member)
    return kept


def _write_others(
    rules: Rules,
    schema: Mapping[str, Any],
    writer: SubschemaWriter,
    *,
    names: list[str],
    taken: int,
    most: int | None,
) -> _Others | None:
    room = None if most is None else min(int(most) - taken, MAX_COUNTED)
    if room is not None and room <= 0:
        return None
    patterns: dict[str, Any] = schema.get("patternProperties", {})
    if patterns:
        return _write_pattern_properties(schema, patterns, writer, names=names, room=room)
    is_open = not names
    allowed = schema.get("additionalProperties", is_open and schema.get("unevaluatedProperties", True))
    if allowed is False:
        return None
    key = _write_key(rules, schema, names)
    try:
        with writer.at("additionalProperties"):
            return _Others(f'{key} ":" " "? {writer.write(allowed)}', room)
    except NothingFitsError:
        return None


def _write_pattern_properties(
    schema: Mapping[str, Any],
    patterns: dict[str, Any],
    writer: SubschemaWriter,
    *,
    names: list[str],
    room: int | None,
) -> _Others:
    if names or len(patterns) > 1 or "propertyNames" in schema:
        raise GrammarRefusedError("patternProperties can be kept to only alone, and with one pattern")
    ((pattern, value),) = patterns.items()
    with writer.at("patternProperties"):
        return _Others(f'{write_key_pattern(pattern)} ":" " "? {writer.write(value)}', room)


def _write_key(rules: Rules, schema: Mapping[str, Any], names: list[str]) -> str:
    form = schema.get("propertyNames", True)
    if form in (True, {}, {"type": "string"}):
        return write_other_key(rules, names) if names else any_string(rules)
    if names or not isinstance(form, Mapping):
        raise GrammarRefusedError("propertyNames beside properties can't be kept to")
    if "enum" in form and form.keys() <= {"enum", "type", "title", "description"}:
        texts = [write_json(name) for name in form["enum"] if isinstance(name, str)]  # pyright: ignore[reportUnknownVariableType]
        return f"({' | '.join(texts)})"
    if form.keys() <= {"pattern", "minLength", "maxLength", "format", "type", "title", "description"}:
        return write_string(rules, form)  # pyright: ignore[reportUnknownArgumentType]
    raise GrammarRefusedError("propertyNames can only have a pattern, lengths, a format or an enum")


def _write_chain(rules: Rules, space: str, members: list[_Member], others: _Others | None, *, needs_one: bool) -> str:
    """Return the expression of an object: at each place come what is next, what is after it, or the end."""
    end = f'{space} "}}"'
    later = _write_later_others(rules, space, others, end, count=None if others is None else others.most)
    fewer = None if others is None or others.most is None else others.most - 1
    after_first = _write_later_others(rules, space, others, end, count=fewer)
    # `first` is what may come where nothing has come yet, `later` where something has.
    starts = [] if others is None else [f"{others.written} {after_first}"]
    first = rules.add(" | ".join(starts if needs_one else [*starts, '"}"']))
    for member in reversed(members):
        begun = f"{member.written} {later}"
        following = f'"," {space} {member.written} {later}'
        if member.is_required:
            first, later = rules.add(begun), rules.add(following)
        else:
            first, later = rules.add(f"{begun} | {first}"), rules.add(f"{following} | {later}")
    return f'"{{" {space} {first}'


def _write_later_others(rules: Rules, space: str, others: _Others | None, end: str, *, count: int | None) -> str:
    if others is None or count == 0:
        return rules.add(end)
    more = f'"," {space} {others.written}'
    if count is None:
        return rules.add_recursive(lambda itself: f"{end} | {more} {itself}")
    following = rules.add(end)
    for _ in range(count):
        following = rules.add(f"{end} | {more} {following}")
    return following
