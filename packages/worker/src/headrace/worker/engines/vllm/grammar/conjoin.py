"""Two schemas as one that accepts what both do.

Subschemas are left as an `allOf` of both, which is worked out when it comes to be written, so that recursive schemas
come to an end.
"""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

from headrace.worker.engines.vllm.grammar.refusal import GrammarRefusedError, NothingFitsError

Schema = Mapping[str, Any]

MAX_BRANCHES = 256
TYPES = ("object", "array", "string", "integer", "number", "boolean", "null")

_GREATEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_LEAST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_SAME_ONLY = ("pattern", "format", "multipleOf", "patternProperties", "propertyNames", "oneOf")
_OPEN = "additionalProperties"


def conjoin(left: Schema, right: Schema) -> dict[str, Any]:
    """Return one schema for both; neither has a `$ref`, an `allOf` or a `const`.

    Raises:
        NothingFitsError: no value can meet both.
        GrammarRefusedError: they can't be made one.
    """
    joined: dict[str, Any] = {**left, **right}
    for name in left.keys() & right.keys():
        joined[name] = _join_values(name, left[name], right[name])
    if "type" in left and "type" in right:
        joined["type"] = _join_types(left["type"], right["type"])
    _join_properties(left, right, joined)
    _join_items(left, right, joined)
    return joined


def _join_values(name: str, left: Any, right: Any) -> Any:
    if left == right:
        return left
    if name in _GREATEST and not isinstance(left, bool) and not isinstance(right, bool):
        return max(left, right)
    if name in _LEAST and not isinstance(left, bool) and not isinstance(right, bool):
        return min(left, right)
    if join := _JOINS.get(name):
        return join(left, right)
    if name in _SAME_ONLY:
        raise GrammarRefusedError(f"two different {name} for one value can't be kept to")
    return right


def _join_enums(left: list[Any], right: list[Any]) -> list[Any]:
    common = [value for value in left if any(same_json(value, other) for other in right)]
    if not common:
        raise NothingFitsError("no value is in both enums")
    return common


def _join_branches(left: list[Any], right: list[Any]) -> list[Any]:
    if len(left) * len(right) > MAX_BRANCHES:
        raise GrammarRefusedError(f"anyOf has more than {MAX_BRANCHES} branches")
    return [{"allOf": list(pair)} for pair in product(left, right)]


def _join_dependents(left: dict[str, list[str]], right: dict[str, list[str]]) -> dict[str, list[str]]:
    return {name: [*left.get(name, []), *right.get(name, [])] for name in [*left, *right]}


def _join_required(left: list[str], right: list[str]) -> list[str]:
    return list(dict.fromkeys([*left, *right]))


def _join_unique(left: bool, right: bool) -> bool:  # noqa: FBT001 - values of a schema
    return left or right


_JOINS: dict[str, Callable[[Any, Any], Any]] = {
    "enum": _join_enums,
    "anyOf": _join_branches,
    "required": _join_required,
    "dependentRequired": _join_dependents,
    "uniqueItems": _join_unique,
}


def list_types(value: Any) -> list[str]:
    """Return the types that a `type` names.

    Raises:
        GrammarRefusedError: it names something else.
    """
    types = [value] if isinstance(value, str) else value
    if not isinstance(types, list) or not types or not all(kind in TYPES for kind in types):  # pyright: ignore[reportUnknownVariableType]
        raise GrammarRefusedError("type is none of JSON Schema's")
    return list(types)  # pyright: ignore[reportUnknownArgumentType]


def _join_types(left: Any, right: Any) -> list[str]:
    a, b = set(list_types(left)), set(list_types(right))
    common = a & b
    # An integer is a number.
    if ("integer" in a and "number" in b) or ("number" in a and "integer" in b):
        common |= {"integer"}
    if not common:
        raise NothingFitsError("no value has both types")
    return [kind for kind in TYPES if kind in common and not (kind == "integer" and "number" in common)]


def _join_properties(left: Schema, right: Schema, joined: dict[str, Any]) -> None:
    if "properties" not in joined and _OPEN not in joined:
        return
    if "patternProperties" in joined and "properties" in joined:
        raise GrammarRefusedError("patternProperties beside properties can't be kept to")
    mine, theirs = left.get("properties", {}), right.get("properties", {})
    names = dict.fromkeys([*mine, *theirs])
    if names:
        joined["properties"] = {
            name: join_lazily(mine.get(name, left.get(_OPEN, True)), theirs.get(name, right.get(_OPEN, True)))
            for name in names
        }
    if _OPEN in left and _OPEN in right:
        joined[_OPEN] = join_lazily(left[_OPEN], right[_OPEN])


def _join_items(left: Schema, right: Schema, joined: dict[str, Any]) -> None:
    mine, theirs = left.get("prefixItems", []), right.get("prefixItems", [])
    rest, their_rest = left.get("items", True), right.get("items", True)
    if mine or theirs:
        joined["prefixItems"] = [
            join_lazily(mine[i] if i < len(mine) else rest, theirs[i] if i < len(theirs) else their_rest)
            for i in range(max(len(mine), len(theirs)))
        ]
    if "items" in left and "items" in right:
        joined["items"] = join_lazily(rest, their_rest)


def join_lazily(left: Any, right: Any) -> Any:
    """Return a schema for both, which is worked out when it is written."""
    if left is False or right is False:
        return False
    if left is True or left == right:
        return right
    return left if right is True else {"allOf": [left, right]}


def same_json(left: Any, right: Any) -> bool:
    """Tell whether two values are the same in JSON, where true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    return bool(left == right)
