"""What is wrong with a value, in the words of people: where in it, what was given, and what is allowed there.

It is found by the types of the settings; what a decoder says of the same is for programmers, and never shown.
"""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

MAX_SHOWN = 60
_NUMBERS = {int: "a whole number", float: "a number"}


def explain(path: str, value: Any, kind: Any, *, strict: bool = True) -> str | None:
    """Return what is wrong with a value, or None if it is of its type.

    Args:
        path: of the setting.
        value: as TOML, JSON or a variable of the environment gives it.
        kind: its type, with what limits it.
        strict: whether text is no number, as in a file; in the environment all is text.
    """
    found = next(_find(value, kind, path, strict=strict), None)
    return None if found is None else ": ".join(found)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean …?` for a near miss, else nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def describe(kind: Any) -> str:
    """Return what a type allows: `a whole number from 0 to 65535`."""
    bare, metas = _unwrap(kind)
    if get_origin(bare) is Literal:
        return _join([str(choice) for choice in get_args(bare)])
    if get_origin(bare) in (Union, UnionType):
        return _join([describe(one) for one in get_args(bare) if one is not NoneType])
    if get_origin(bare) is tuple:
        return f"a list{_count(metas, 'items')}, each {describe(get_args(bare)[0])}"
    if get_origin(bare) is dict:
        inside = get_args(bare)[1]
        return "a table" if inside is Any else f"a table, each value {describe(inside)}"
    if bare in _NUMBERS:
        return _NUMBERS[bare] + _bounds(metas)
    if bare is bool:
        return "true or false"
    if isinstance(bare, type) and issubclass(bare, Struct):
        return f"a table of {', '.join(get_type_hints(bare))}"
    return f"text{_count(metas, 'characters')}"


def _find(value: Any, kind: Any, path: str, *, strict: bool) -> Iterator[tuple[str, str]]:
    """Yield what is wrong, with its place: inside a list or a table before the whole, where that can be told."""
    try:
        msgspec.convert(value, kind, strict=strict)
    except (msgspec.ValidationError, ValueError):
        pass
    else:
        return
    bare, _ = _unwrap(kind)
    if get_origin(bare) in (Union, UnionType):
        # All that may be left out is of one type besides.
        bare, _ = _unwrap(next(one for one in get_args(bare) if one is not NoneType))
    if get_origin(bare) is tuple and isinstance(value, list | tuple):
        for number, item in enumerate(cast("Sequence[Any]", value)):
            yield from _find(item, get_args(bare)[0], f"{path}[{number}]", strict=strict)
    elif get_origin(bare) is dict and isinstance(value, dict):
        for key, item in cast("Mapping[Any, Any]", value).items():
            yield from _find(item, get_args(bare)[1], f"{path}.{key}", strict=strict)
    elif isinstance(bare, type) and issubclass(bare, Struct) and isinstance(value, dict):
        yield from _find_in_table(cast("Mapping[str, Any]", value), bare, path, strict=strict)
    yield path, f"{_show(value)} is given, and allowed is {describe(kind)}{_hint(value, bare)}"


def _find_in_table(
    value: Mapping[str, Any], struct: type[Struct], path: str, *, strict: bool
) -> Iterator[tuple[str, str]]:
    fields = get_type_hints(struct, include_extras=True)
    for key, item in value.items():
        if key in fields:
            yield from _find(item, fields[key], f"{path}.{key}", strict=strict)
        elif struct.__struct_config__.forbid_unknown_fields:
            yield f"{path}.{key}", f"there is no such key; there is {', '.join(fields)}{suggest(key, fields)}"
    for field in msgspec.structs.fields(struct):
        if field.required and field.name not in value:
            yield f"{path}.{field.name}", "it is missing"


def _unwrap(kind: Any) -> tuple[Any, Sequence[Meta]]:
    if get_origin(kind) is not Annotated:
        return kind, ()
    bare, *metas = get_args(kind)
    inner, more = _unwrap(bare)
    return inner, (*more, *metas)


def _hint(value: Any, bare: Any) -> str:
    return suggest(value, map(str, get_args(bare))) if isinstance(value, str) and get_origin(bare) is Literal else ""


def _show(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, dict):
        return "a table"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"


def _bounds(metas: Sequence[Meta]) -> str:
    least = next((_number(meta.ge) for meta in metas if meta.ge is not None), "")
    above = next((_number(meta.gt) for meta in metas if meta.gt is not None), "")
    most = next((_number(meta.le) for meta in metas if meta.le is not None), "")
    if least and most:
        return f" from {least} to {most}"
    if least:
        return f" of {least} or more"
    words = filter(None, (above and f"above {above}", most and f"up to {most}"))
    return f" {' and '.join(words)}".rstrip()


def _count(metas: Sequence[Meta], unit: str) -> str:
    least = next((meta.min_length for meta in metas if meta.min_length is not None), None)
    most = next((meta.max_length for meta in metas if meta.max_length is not None), None)
    if least and most:
        return f" of {least} to {most} {unit}"
    if most:
        return f" of up to {most} {unit}"
    return f" of {least} or more {unit}" if least else ""


def _number(value: float) -> str:
    return re.sub(r"\.0$", "", str(value))


def _join(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
