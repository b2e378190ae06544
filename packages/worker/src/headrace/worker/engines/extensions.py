"""Reading `provider_extensions`: the part of a request that only the engine which runs it can check."""

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError

FIELD = "generation_parameters.provider_extensions"

S = TypeVar("S", bound=Struct)

_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `([^`]*)`")
_PLACE = re.compile(r" - at (?:`key` in )?`\$\.?([^`]*)`")


def read_extension(extensions: Mapping[str, Any], kind: str, form: type[S]) -> S | None:
    """Return the extension that is meant for an engine of this kind, or None where there is none.

    Args:
        extensions: `provider_extensions` of a request.
        kind: the engine's own key.
        form: what the engine accepts; it must refuse unknown fields.

    Raises:
        HeadraceError: `unsupported_parameter` for a key of another kind, `invalid_request` for a wrong field or value.
    """
    for key in extensions:
        if key != kind:
            raise HeadraceError(
                ErrorCode.UNSUPPORTED_PARAMETER,
                f"this model runs on the {kind} engine, which does not know the provider extension {key!r}",
                param=f"{FIELD}.{key}",
            )
    if kind not in extensions:
        return None
    try:
        return msgspec.convert(extensions[kind], form)
    except msgspec.ValidationError as error:
        place, reason = explain_mismatch(error)
        raise HeadraceError(
            ErrorCode.INVALID_REQUEST,
            f"the provider extension for the {kind} engine is wrong: {reason}",
            param=".".join(filter(None, [FIELD, kind, place])),
        ) from error


def explain_mismatch(error: msgspec.ValidationError) -> tuple[str, str]:
    """Split msgspec's message into where (`rules[0].txt`, may be empty) and why."""
    message = str(error)
    match = _PLACE.search(message)
    place = match[1] if match else ""
    reason = _PLACE.sub("", message)
    if unknown := _UNKNOWN_FIELD.search(message):
        place = f"{place}.{unknown[1]}".lstrip(".")
        reason = f"there is no field {unknown[1]!r}"
    return place, reason
