"""Puts what was given of a patch into a value."""

from typing import Any, TypeVar

from msgspec import UNSET, Struct, structs

S = TypeVar("S", bound=Struct)


def apply_patch(value: S, patch: Struct) -> S:
    """Return the value with each field that the patch gives, under the same name; nested patches go deeper."""
    changes: dict[str, Any] = {}
    for name, given in structs.asdict(patch).items():
        if given is not UNSET and name in value.__struct_fields__:
            changes[name] = apply_patch(getattr(value, name), given) if isinstance(given, Struct) else given
    return structs.replace(value, **changes)
