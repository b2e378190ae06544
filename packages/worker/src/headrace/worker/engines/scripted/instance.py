"""The smallest JSON value that a schema accepts, and whether it accepts a given one.

It knows the part of JSON Schema that tools and formats are written in. What it does not know it refuses to make a value
for, rather than make a wrong one.
"""

import math
from typing import Any, cast

from headrace.worker.engines.scripted.match import make_match

MOST_DEPTH = 32
MOST_ITEMS = 1000

_Schema = dict[str, Any]
_KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool,
    "null": type(None),
}  # fmt: skip
# Words that forbid values, and that are not looked at.
_UNKNOWN = frozenset(
    ("not", "if", "dependentRequired", "dependentSchemas", "contains", "propertyNames", "uniqueItems",
     "patternProperties", "minProperties", "maxProperties", "unevaluatedProperties", "unevaluatedItems")
)  # fmt: skip


class UnknownSchemaError(ValueError):
    """The schema has a word that we don't know; the message names it."""


class _Root:
    """A schema with what its references point to."""

    def __init__(self, schema: _Schema) -> None:
        self._root = schema

    def resolve(self, schema: object) -> _Schema:
        """Follow references; a schema that is `true` accepts everything."""
        for _ in range(MOST_DEPTH):
            if schema is True:
                return {}
            if not isinstance(schema, dict):
                raise UnknownSchemaError("a schema that is no object")
            found = cast("_Schema", schema)
            if "$ref" not in found:
                return found
            schema = self._find(found["$ref"])
        raise UnknownSchemaError("references that lead to themselves")

    def _find(self, reference: object) -> object:
        place: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnknownSchemaError("a reference to another document")
        for step in reference.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(place, dict) or key not in place:
                raise UnknownSchemaError("a reference that leads nowhere")
            place = cast("_Schema", place)[key]
        return place


def make_instance(schema: _Schema) -> Any:
    """Return the smallest value that a schema accepts.

    Raises:
        UnknownSchemaError: the schema has a word that is not known here, or nothing small fits it.
    """
    return _make(schema, _Root(schema), 0)


def _make(schema: object, root: _Root, depth: int) -> Any:
    if depth > MOST_DEPTH:
        raise UnknownSchemaError("a value that never ends")
    found = root.resolve(schema)
    if words := _UNKNOWN & found.keys():
        raise UnknownSchemaError(min(words))
    if "const" in found:
        return found["const"]
    if "enum" in found:
        return found["enum"][0]
    if parts := found.get("allOf"):
        return _make(_join(found, parts, root), root, depth + 1)
    if choices := found.get("anyOf") or found.get("oneOf"):
        return _make(choices[0], root, depth + 1)
    return _make_kind(found, root, depth)


def _join(schema: _Schema, parts: list[object], root: _Root) -> _Schema:
    joined: _Schema = {key: value for key, value in schema.items() if key != "allOf"}
    for part in map(root.resolve, parts):
        properties = {**joined.get("properties", {}), **part.get("properties", {})}
        required = [*joined.get("required", ()), *part.get("required", ())]
        joined = {**joined, **part, "properties": properties, "required": required}
    return joined if joined["properties"] or joined.get("type") == "object" else _without_object(joined)


def _without_object(schema: _Schema) -> _Schema:
    return {key: value for key, value in schema.items() if key not in ("properties", "required")}


def _make_kind(schema: _Schema, root: _Root, depth: int) -> Any:
    match _kind_of(schema):
        case "object":
            properties: _Schema = schema.get("properties", {})
            rest = schema.get("additionalProperties", True)
            return {name: _make(properties.get(name, rest), root, depth + 1) for name in schema.get("required", ())}
        case "array":
            first: list[object] = schema.get("prefixItems", [])
            count = _bounded(schema.get("minItems", 0))
            return [
                _make(first[i] if i < len(first) else schema.get("items", True), root, depth + 1) for i in range(count)
            ]
        case "string":
            return _make_string(schema)
        case "integer":
            return _make_number(schema, whole=True)
        case "number":
            return _make_number(schema, whole=False)
        case "boolean":
            return False
        case "null":
            return None
        case other:
            raise UnknownSchemaError(f"type {other!r}"[:64])


def _make_string(schema: _Schema) -> str:
    least = _bounded(schema.get("minLength", 0))
    if "pattern" not in schema:
        return "x" * least
    text = make_match(schema["pattern"])
    if text is None or not least <= len(text) <= schema.get("maxLength", math.inf):
        raise UnknownSchemaError("pattern")
    return text


def _kind_of(schema: _Schema) -> object:
    kind = schema.get("type")
    if isinstance(kind, list):
        return cast("list[object]", kind)[0] if kind else None
    if kind is None:
        return "array" if "items" in schema or "prefixItems" in schema else "object"
    return kind


def _bounded(count: object) -> int:
    if not isinstance(count, int) or count > MOST_ITEMS:
        raise UnknownSchemaError(f"more than {MOST_ITEMS} items")
    return count


def _make_number(schema: _Schema, *, whole: bool) -> int | float:
    low, high = _bounds(schema)
    step = schema.get("multipleOf", 1)
    nearest = 0 if low <= 0 <= high else (low if low > 0 else high)
    if not math.isfinite(nearest) or not step > 0:
        raise UnknownSchemaError("a number that no value is")
    start = math.floor(nearest / step)
    for number in (nearest, *((start + i) * step for i in (0, 1, -1)), (low + high) / 2):
        value = int(number) if math.isfinite(number) and number == int(number) else number
        if _fits_number(value, schema) and (isinstance(value, int) or not whole):
            return value
    raise UnknownSchemaError("a number that no value is")


def _bounds(schema: _Schema) -> tuple[float, float]:
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    return low, min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))


def _fits_number(value: float, schema: _Schema) -> bool:
    low, high = _bounds(schema)
    return (
        low <= value <= high
        and value not in (schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum"))
        and ("multipleOf" not in schema or value % schema["multipleOf"] == 0)
    )


def is_instance(value: Any, schema: _Schema) -> bool:
    """Tell whether a schema accepts a value; False also where that can't be told here."""
    try:
        return _fits(value, schema, _Root(schema), 0)
    except (UnknownSchemaError, TypeError, AttributeError, ArithmeticError):
        return False


def _fits(value: Any, schema: object, root: _Root, depth: int) -> bool:
    if schema is False or depth > MOST_DEPTH:
        return False
    found = root.resolve(schema)
    if found.keys() & (_UNKNOWN | {"pattern"}):
        return False
    return (
        _fits_kind(value, found)
        and ("const" not in found or value == found["const"])
        and ("enum" not in found or value in found["enum"])
        and all(_fits(value, part, root, depth + 1) for part in found.get("allOf", ()))
        and ("anyOf" not in found or any(_fits(value, part, root, depth + 1) for part in found["anyOf"]))
        and ("oneOf" not in found or sum(_fits(value, part, root, depth + 1) for part in found["oneOf"]) == 1)
        and _fits_inside(value, found, root, depth)
    )


def _fits_kind(value: Any, schema: _Schema) -> bool:
    kinds = schema.get("type")
    if kinds is None:
        return True
    names = cast("list[str]", kinds) if isinstance(kinds, list) else [cast("str", kinds)]
    is_boolean = isinstance(value, bool)
    return any(
        isinstance(value, _KINDS[name]) and is_boolean == (name == "boolean") for name in names if name in _KINDS
    )


def _fits_inside(value: Any, schema: _Schema, root: _Root, depth: int) -> bool:
    if isinstance(value, dict):
        return _fits_object(cast("_Schema", value), schema, root, depth)
    if isinstance(value, list):
        items = cast("list[Any]", value)
        first: list[object] = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        return schema.get("minItems", 0) <= len(items) <= schema.get("maxItems", math.inf) and all(
            _fits(item, first[i] if i < len(first) else rest, root, depth + 1) for i, item in enumerate(items)
        )
    if isinstance(value, str):
        return schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", math.inf)
    return isinstance(value, bool) or value is None or _fits_number(value, schema)


def _fits_object(value: _Schema, schema: _Schema, root: _Root, depth: int) -> bool:
    properties: _Schema = schema.get("properties", {})
    rest = schema.get("additionalProperties", True)
    return all(name in value for name in schema.get("required", ())) and all(
        _fits(item, properties.get(name, rest), root, depth + 1) for name, item in value.items()
    )
