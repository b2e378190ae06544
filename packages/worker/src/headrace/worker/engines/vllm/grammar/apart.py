"""`oneOf`: branches that no value can meet two of.

A grammar knows no "exactly one", so each two branches must be apart for a reason that can be seen: other types, other
listed values, or a property that tells them apart. Such a property is made required, which narrows the branches.
"""

from itertools import combinations
from typing import Any

from headrace.worker.engines.vllm.grammar.conjoin import TYPES, list_types, same_json
from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError
from headrace.worker.engines.vllm.grammar.values import type_of

Branch = dict[str, Any]


def set_apart(branches: list[Branch]) -> list[Branch]:
    """Return the branches so that no value of one meets another.

    Raises:
        GrammarRefusedError: it can't be seen why two of them should not overlap.
    """
    for left, right in combinations(branches, 2):
        if not _have_other_types(left, right) and not _have_other_properties(left, right):
            raise GrammarRefusedError("oneOf has branches that a value may meet two of; say anyOf")
    return branches


def _have_other_types(left: Branch, right: Branch) -> bool:
    if "enum" in left and "enum" in right:
        return not _have_common(left["enum"], right["enum"])
    a, b = _types(left), _types(right)
    return not a & b and not ({"integer", "number"} & a and {"integer", "number"} & b)


def _types(branch: Branch) -> set[str]:
    if "type" in branch:
        return set(list_types(branch["type"]))
    return {type_of(value) for value in branch["enum"]} if "enum" in branch else set(TYPES)


def _have_other_properties(left: Branch, right: Branch) -> bool:
    """Tell whether the branches are objects that a property tells apart, and make that property required."""
    mine, theirs = left.get("properties", {}), right.get("properties", {})
    for name in mine.keys() & theirs.keys():
        values, others = _values(mine[name]), _values(theirs[name])
        if values and others and not _have_common(values, others):
            _require(left, name)
            _require(right, name)
            return True
    return _lacks(left, right) and _lacks(right, left)


def _lacks(left: Branch, right: Branch) -> bool:
    """Tell whether no object that is made for the one branch meets the other."""
    mine, theirs = left.get("properties", {}), right.get("properties", {})
    is_closed = bool(mine) and left.get("additionalProperties", False) is False
    if is_closed and any(name not in mine for name in right.get("required", [])):
        return True
    forbids_others = right.get("additionalProperties") is False
    return forbids_others and any(name not in theirs for name in left.get("required", []))


def _values(schema: Any) -> list[Any]:
    if not isinstance(schema, dict):
        return []
    named: dict[str, Any] = schema  # pyright: ignore[reportUnknownVariableType]
    return [named["const"]] if "const" in named else named.get("enum", [])


def _have_common(left: list[Any], right: list[Any]) -> bool:
    return any(same_json(value, other) for value in left for other in right)


def _require(branch: Branch, name: str) -> None:
    branch["required"] = list(dict.fromkeys([*branch.get("required", []), name]))
