"""Hypothesis strategies made from the Structs themselves, so that a new field is tested from the day it is there."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
from msgspec import Struct, inspect

Strategy = st.SearchStrategy[Any]

_WIDEST_INT = (-(2**63), 2**63 - 1)
_MOST_ITEMS = 3

_plain: Strategy = st.none() | st.booleans() | st.integers(*_WIDEST_INT) | st.floats(allow_nan=False) | st.text()
# What a client may put where the schema says nothing.
_anything: Strategy = st.recursive(
    _plain, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2), max_leaves=4
)


def values_of(kind: Any, overrides: Mapping[tuple[type[Struct], str], Strategy] | None = None) -> Strategy:
    """Return a strategy for every value that a type allows.

    Args:
        kind: a Struct, or a union of them.
        overrides: strategies for fields whose type says less than what holds for them.
    """
    return _Builder(overrides or {}).build(inspect.type_info(kind))


def structs_in(kind: Any) -> set[type[Struct]]:
    """Return every Struct that a type is made of."""
    builder = _Builder({})
    builder.build(inspect.type_info(kind))
    return builder.seen


class _Builder:
    def __init__(self, overrides: Mapping[tuple[type[Struct], str], Strategy]) -> None:
        self._overrides = overrides
        self._structs: dict[type[Struct], Strategy] = {}

    @property
    def seen(self) -> set[type[Struct]]:
        return set(self._structs)

    def build(self, kind: inspect.Type) -> Strategy:
        match kind:
            case inspect.Metadata():
                return self.build(kind.type)
            case inspect.StructType():
                return self._build_struct(kind)
            case inspect.UnionType():
                return st.one_of([self.build(member) for member in kind.types])
            case inspect.VarTupleType():
                most = min(kind.max_length or _MOST_ITEMS, _MOST_ITEMS)
                items = st.lists(self.build(kind.item_type), min_size=kind.min_length or 0, max_size=most)
                return items.map(tuple)
            case inspect.DictType():
                return st.dictionaries(self.build(kind.key_type), self.build(kind.value_type), max_size=2)
            case inspect.StrType():
                return st.text(min_size=kind.min_length or 0, max_size=min(kind.max_length or 8, 8))
            case inspect.LiteralType():
                return st.sampled_from(kind.values)
            case _:
                return _build_scalar(kind)

    def _build_struct(self, kind: inspect.StructType) -> Strategy:
        if kind.cls not in self._structs:
            # In the table before its fields are built: a Struct may hold itself.
            strategy: Strategy = st.deferred(lambda: built)
            self._structs[kind.cls] = strategy
            built = st.builds(kind.cls, **{field.name: self._build_field(kind.cls, field) for field in kind.fields})
        return self._structs[kind.cls]

    def _build_field(self, struct: type[Struct], field: inspect.Field) -> Strategy:
        override = self._overrides.get((struct, field.name))
        return self.build(field.type) if override is None else override


def _build_scalar(kind: inspect.Type) -> Strategy:
    match kind:
        case inspect.IntType():
            low = _WIDEST_INT[0] if kind.ge is None else int(kind.ge)
            return st.integers(low, _WIDEST_INT[1] if kind.le is None else int(kind.le))
        case inspect.FloatType():
            low = kind.ge if kind.gt is None else kind.gt
            return st.floats(low, kind.le, exclude_min=kind.gt is not None, allow_nan=False)
        case inspect.BoolType():
            return st.booleans()
        case inspect.NoneType():
            return st.none()
        case inspect.BytesType():
            return st.binary(max_size=8)
        case inspect.AnyType():
            return _anything
        case _:
            raise NotImplementedError(kind)
