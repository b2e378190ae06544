"""Reads what administrators send: bodies, the query, and who they say they are."""

import re
from typing import Any, Generic, TypeVar

from msgspec import Struct

from headrace.accounts.values import MAX_PAGE_SIZE, PAGE_SIZE
from headrace.gateway.asgi import HttpRequest
from headrace.gateway.body import read_body
from headrace.gateway.failure import RequestRefusedError
from headrace.gateway.strict import StrictReader, decode_object

ACTOR_HEADER = "Headrace-Actor"
DEFAULT_ACTOR = "admin"
BODY_LIMIT_BYTES = 64 * 1024
_ACTOR = re.compile(r"[\x21-\x7e][\x20-\x7e]{0,63}")

S = TypeVar("S", bound=Struct)


class BodyOf(Generic[S]):
    """Reads bodies of one kind.

    Args:
        kind: what a body is.
        if_empty: what no body at all stands for, if that is allowed.
    """

    def __init__(self, kind: type[S], *, if_empty: S | None = None) -> None:
        self._reader = StrictReader(kind)
        self._if_empty = if_empty

    async def read(self, http: HttpRequest) -> S:
        """Return the body.

        Raises:
            HeadraceError: it can't be read, or is not of the kind.
        """
        body = await read_body(http, limit_bytes=BODY_LIMIT_BYTES)
        if not body and self._if_empty is not None:
            return self._if_empty
        return self._reader.read(decode_object(body))


def read_actor(http: HttpRequest) -> str:
    """Return who makes a change, for the audit log: the key says only that it is an administrator.

    Raises:
        RequestRefusedError: the header is not printable, or too long.
    """
    name = http.headers.get(ACTOR_HEADER)
    if name is None:
        return DEFAULT_ACTOR
    if _ACTOR.fullmatch(name) is None:
        message = f"the header {ACTOR_HEADER} must have 1 to 64 printable characters of ASCII"
        raise RequestRefusedError(message, reason="invalid_value", param=ACTOR_HEADER)
    return f"{DEFAULT_ACTOR}:{name}"


def read_query(http: HttpRequest, *names: str) -> dict[str, str]:
    """Return the query.

    Raises:
        RequestRefusedError: a parameter is not one of the names, or has a NUL in it, which no text of ours has.
    """
    query: dict[str, Any] = dict(http.query_params)
    if unknown := next((name[:64] for name in query if name not in names), None):
        raise RequestRefusedError(f"unknown parameter: '{unknown}'", reason="unknown_parameter", param=unknown)
    found = {name: str(value) for name, value in query.items()}
    if broken := next((name for name, value in found.items() if "\0" in value), None):
        raise RequestRefusedError(f"'{broken}' has a NUL in it", reason="invalid_value", param=broken)
    return found


def read_limit(query: dict[str, str]) -> int:
    """Return how many items a page may have.

    Raises:
        RequestRefusedError: it is no number, or too large a one.
    """
    return read_number(query, "limit", most=MAX_PAGE_SIZE) or PAGE_SIZE


def read_number(query: dict[str, str], name: str, *, most: int) -> int | None:
    """Return a whole number above 0, or None where there is none.

    Raises:
        RequestRefusedError: it is something else.
    """
    text = query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 16 and 1 <= int(text) <= most):
        message = f"'{name}' must be a whole number from 1 to {most}"
        raise RequestRefusedError(message, reason="invalid_value", param=name)
    return int(text)
