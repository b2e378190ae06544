"""Checks the JSON Schemas that clients send, before anything is promised to them.

A schema reaches the engine as a grammar, after a stream may have been answered with 200. What is wrong with it by
JSON Schema's own rules is found here instead, and refused with the name of the field. A schema is held to the draft
that its `$schema` names, or to 2020-12. What of it an engine can't enforce is for that engine to say.

A check takes bounded time: the depth and the size of a schema are limited, the regular expressions of one schema share
one allowance, and a reference out of the schema is refused and never fetched.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import jsonschema_rs

from headrace.gateway.failure import RequestRefusedError

MAX_SCHEMA_DEPTH = 64
MAX_SCHEMA_VALUES = 20_000
# Compiled patterns of one schema, all together: about 10 ms of work.
_PATTERN_BYTES = 4_000_000
_ANY_OBJECT = (None, "object", ["object"])


class _RefusedReferenceError(ValueError):
    """A reference points out of the schema."""


def check_json_schema(schema: Mapping[str, Any], *, param: str) -> None:
    """Check that a schema is one.

    Args:
        schema: decoded JSON.
        param: the field that it came in, as the client wrote it.

    Raises:
        RequestRefusedError: it is no JSON Schema, too large, or refers to another document.
    """
    patterns = _measure(schema, param)
    limit = jsonschema_rs.FancyRegexOptions(size_limit=_PATTERN_BYTES // max(1, patterns))
    outside: list[str] = []

    def refuse(uri: str) -> Any:
        outside.append(uri)
        raise _RefusedReferenceError

    try:
        jsonschema_rs.validator_for(dict(schema), retriever=refuse, pattern_options=limit)
    except (jsonschema_rs.ReferencingError, ValueError) as error:
        raise _refuse(_explain(error, outside=bool(outside)), param) from None


def check_arguments_schema(schema: Mapping[str, Any], *, param: str) -> None:
    """Check the schema of a tool's arguments, which are always an object.

    Raises:
        RequestRefusedError: it is no JSON Schema, or none of an object.
    """
    check_json_schema(schema, param=param)
    if schema.get("type") not in _ANY_OBJECT:
        raise _refuse("the arguments of a tool are an object, so its 'type' must be 'object'", param)


def _refuse(problem: str, param: str) -> RequestRefusedError:
    return RequestRefusedError(f"'{param}' is no schema to go by: {problem}", reason="invalid_value", param=param)


def _explain(error: Exception, *, outside: bool) -> str:
    """Say what is wrong, and where, without a value of the client's."""
    if outside:
        return "'$ref' and '$schema' may refer to the schema itself and to the drafts of JSON Schema only"
    if not isinstance(error, jsonschema_rs.ValidationError):
        return "it can't be read"
    if error.kind.name == "$ref":
        return "a '$ref' in it leads nowhere"
    place = _place_of(error.instance_path)
    if error.kind.name == "format":
        return f"the regular expression{place} is not valid, or too large"
    return f"the value{place} is not valid JSON Schema"


def _place_of(path: Iterable[str | int]) -> str:
    pointer = "/".join(str(step)[:64] for step in path)
    return f" at '{pointer[:256]}'" if pointer else ""


def _measure(schema: Mapping[str, Any], param: str) -> int:
    """Return the number of regular expressions in a schema, which is checked to be of a size that can be handled."""
    patterns = values = 0
    level: list[Any] = [schema]
    depth = 0
    while level:
        depth, values = depth + 1, values + len(level)
        if depth > MAX_SCHEMA_DEPTH:
            raise _refuse(f"it may be nested at most {MAX_SCHEMA_DEPTH} levels deep", param)
        if values > MAX_SCHEMA_VALUES:
            raise _refuse(f"it may have at most {MAX_SCHEMA_VALUES} values", param)
        patterns += sum(_count_patterns(value) for value in level)
        level = [item for value in level for item in _items_of(value)]
    return patterns


def _items_of(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return cast("Mapping[str, Any]", value).values()
    return cast("list[Any]", value) if isinstance(value, list) else ()


def _count_patterns(value: Any) -> int:
    if not isinstance(value, Mapping):
        return 0
    found = cast("Mapping[str, Any]", value)
    named = found.get("patternProperties")
    return isinstance(found.get("pattern"), str) + (len(cast("Any", named)) if isinstance(named, Mapping) else 0)
