"""Reads a body into the Structs of a dialect, and says in plain words what is wrong with it.

The Structs of the schema are lenient, since a worker must read what a newer gateway wrote. At the edge the opposite is
right: a key that we don't know is a feature that the client would silently not get, so it is refused by its path.
"""

import re
from typing import Any, Generic, TypeVar, cast

import msgspec
from msgspec import inspect

from headrace.gateway.failure import Reason, RequestRefusedError

_SHOWN_KEY_LENGTH = 64
MAX_NESTING = 96
"""Levels of objects and arrays in a body; a schema in it may have 64 of them."""

_PLACE = re.compile(r"(?P<problem>.*?)(?: - at `\$\.?(?P<place>.*)`)?", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>\w+)`")
_WRONG_TYPE = re.compile(r"Expected `(?P<expected>[^`]+)`, got `(?P<got>\w+)`")
_OUT_OF_RANGE = re.compile(
    r"Expected `(?P<kind>\w+)(?: \| null)?` (?P<length>of length )?(?P<sign>[<>]=?) (?P<bound>\S+)"
)
_WORDS = {"str": "a string", "int": "an integer", "float": "a number", "bool": "a boolean", "array": "an array"}
_COLLECTIONS = ("array", "object")
_MORE_WORDS = {"object": "an object", "null": "null"}

# A bracket inside a string is part of the string's match, and counts for nothing.
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)

T = TypeVar("T")


def decode_object(body: bytes) -> dict[str, Any]:
    """Decode a JSON body.

    Raises:
        RequestRefusedError: it is no JSON, or no object.
    """
    try:
        value = msgspec.json.decode(body)
    except UnicodeDecodeError:
        raise _no_json("it is not UTF-8") from None
    except RecursionError:
        raise _no_json("it is nested too deeply") from None
    except msgspec.DecodeError as error:
        raise _no_json(_split(error)[0]) from None
    if not isinstance(value, dict):
        raise RequestRefusedError("the body must be a JSON object", reason="invalid_type")
    if _is_deep(body):
        raise RequestRefusedError(f"the body is nested more than {MAX_NESTING} levels deep", reason="invalid_json")
    return cast("dict[str, Any]", value)


def _is_deep(body: bytes) -> bool:
    """Tell whether a body that is JSON is nested too deeply, without a look at its values where it can't be."""
    if body.count(b"{") + body.count(b"[") <= MAX_NESTING:
        return False
    depth = 0
    for mark in _BRACKETS.findall(body):
        if mark in b"{[":
            depth += 1
            if depth > MAX_NESTING:
                return True
        elif mark in b"}]":
            depth -= 1
    return False


def _no_json(problem: str) -> RequestRefusedError:
    return RequestRefusedError(f"the body is not valid JSON: {problem}", reason="invalid_json")


def _split(error: msgspec.DecodeError) -> tuple[str, str | None]:
    """Return what is wrong, and where."""
    match = _PLACE.fullmatch(str(error))
    return (match["problem"], match["place"] or None) if match else (str(error), None)


class StrictReader(Generic[T]):
    """Turns decoded JSON into a Struct, and refuses what the Struct has no place for."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._info = inspect.type_info(kind)

    def read(self, value: dict[str, Any]) -> T:
        """Return the Struct.

        Raises:
            RequestRefusedError: with the path of the first thing that is wrong.
        """
        if (path := find_unknown_key(value, self._info)) is not None:
            raise RequestRefusedError(f"unknown parameter: '{path}'", reason="unknown_parameter", param=path)
        try:
            return msgspec.convert(value, self._kind, str_keys=True)
        except msgspec.ValidationError as error:
            raise explain(error) from None


def find_unknown_key(value: Any, kind: inspect.Type, path: str = "") -> str | None:
    """Return the path of the first key that the type has no field for, or None.

    Args:
        value: decoded JSON.
        kind: what it is meant to be; a part of the value that is of another type is left to the decoder's own check.
        path: where the value lies in the whole.
    """
    match kind:
        case inspect.StructType() if isinstance(value, dict):
            return _find_in_object(cast("dict[str, Any]", value), kind, path)
        case inspect.UnionType():
            return _find_in_union(value, kind, path)
        case inspect.VarTupleType() | inspect.ListType() if isinstance(value, list):
            items = enumerate(cast("list[Any]", value))
            return next(
                filter(None, (find_unknown_key(item, kind.item_type, f"{path}[{i}]") for i, item in items)), None
            )
        case _:
            return None


def _find_in_object(value: dict[str, Any], kind: inspect.StructType, path: str) -> str | None:
    fields = {field.encode_name: field.type for field in kind.fields}
    prefix = f"{path}." if path else ""
    for key, item in value.items():
        if key in fields:
            if found := find_unknown_key(item, fields[key], prefix + key):
                return found
        elif key != kind.tag_field:
            return prefix + key[:_SHOWN_KEY_LENGTH]
    return None


def _find_in_union(value: Any, kind: inspect.UnionType, path: str) -> str | None:
    for member in kind.types:
        if isinstance(value, dict) and isinstance(member, inspect.StructType):
            tag = cast("dict[str, Any]", value).get(member.tag_field, member.tag) if member.tag_field else member.tag
            if tag != member.tag:
                continue
        if found := find_unknown_key(value, member, path):
            return found
    return None


def explain(error: msgspec.ValidationError) -> RequestRefusedError:
    """Return a refusal that names the field as the client wrote it and never quotes a value."""
    problem, place = _split(error)
    if missing := _MISSING.fullmatch(problem):
        param = f"{place}.{missing['name']}" if place else missing["name"]
        return RequestRefusedError(f"'{param}' is missing", reason="missing_required_parameter", param=param)
    name = f"'{place}'" if place else "the body"
    if wrong := _WRONG_TYPE.fullmatch(problem):
        expected = _join([_say(word) for word in wrong["expected"].split(" | ")])
        message = f"{name} must be {expected}, not {_say(wrong['got'])}"
        return RequestRefusedError(message, reason="invalid_type", param=place)
    if out := _OUT_OF_RANGE.fullmatch(problem):
        return _explain_range(out, name, place)
    return RequestRefusedError(f"{name} has a value that is not allowed", reason="invalid_value", param=place)


def _explain_range(match: re.Match[str], name: str, place: str | None) -> RequestRefusedError:
    sign, bound = match["sign"], match["bound"].removesuffix(".0")
    low = sign.startswith(">")
    if match["length"] and low:
        reason: Reason = "empty_array" if match["kind"] == "array" else "empty_string"
        return RequestRefusedError(f"{name} must not be empty", reason=reason, param=place)
    if match["length"]:
        reason = "array_above_max_length" if match["kind"] in _COLLECTIONS else "string_above_max_length"
        unit = "items" if match["kind"] in _COLLECTIONS else "characters"
        return RequestRefusedError(f"{name} may have at most {bound} {unit}", reason=reason, param=place)
    if match["kind"] == "int":
        reason = "integer_below_min_value" if low else "integer_above_max_value"
    else:
        reason = "decimal_below_min_value" if low else "decimal_above_max_value"
    return RequestRefusedError(f"{name} must be {sign} {bound}", reason=reason, param=place)


def _say(word: str) -> str:
    return _WORDS.get(word) or _MORE_WORDS.get(word, word)


def _join(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
