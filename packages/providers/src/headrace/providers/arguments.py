"""Arguments of calls: text for us, an object for the vendors that do not stream them."""

from typing import Any, cast

import msgspec
from msgspec import Raw

from headrace.providers.failing import Complaints


def read_arguments(raw: Raw, complaints: Complaints) -> str:
    """Return the arguments of a call that came as JSON, as they were written; empty where there are none.

    Raises:
        ProviderError: they are not UTF-8, which a decoder that passes over them does not notice.
    """
    try:
        text = bytes(raw).strip().decode()
    except UnicodeDecodeError as error:
        raise complaints.garbled("arguments of a call that are no text") from error
    return "" if text == "null" else text


def write_arguments(arguments: str, path: str, complaints: Complaints) -> dict[str, Any]:
    """Return the arguments of a call that is sent back as an object; without any it is empty.

    Raises:
        ProviderError: they are no object, naming the path.
    """
    try:
        value: Any = msgspec.json.decode(arguments) if arguments.strip() else {}
    except (msgspec.DecodeError, RecursionError) as error:
        raise complaints.invalid(f"{path}: the arguments of the call are not JSON", path) from error
    if not isinstance(value, dict):
        raise complaints.invalid(f"{path}: the arguments of the call are not an object", path)
    return cast("dict[str, Any]", value)
