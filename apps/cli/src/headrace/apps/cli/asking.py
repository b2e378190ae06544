"""Asks a gateway something below `/v1` or `/admin/v1`: their errors have two shapes that agree on most of it."""

from collections.abc import Mapping
from typing import Any, TypeVar

import httpx
import msgspec
from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError

S = TypeVar("S", bound=Struct)


class ErrorDetail(Struct, frozen=True):
    """What a gateway says is wrong, as far as both of its shapes agree."""

    message: str
    param: str | None = None


class ErrorBody(Struct, frozen=True):
    """How a gateway says it."""

    error: ErrorDetail


async def ask(
    http: httpx.AsyncClient,
    path: str,
    kind: type[S],
    *,
    unauthorized: str,
    not_there: str,
    parameters: Mapping[str, Any] | None = None,
) -> S:
    """Return what a gateway answers.

    Args:
        http: with its address and a key.
        path: what to ask for.
        kind: what the answer is.
        unauthorized: what to say where the key does not open it.
        not_there: what to say where it has no such path.
        parameters: of the query.

    Raises:
        HeadraceError: nobody answers, or not with that.
    """
    try:
        answer = await http.get(path, params=parameters)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise HeadraceError(
            ErrorCode.ACCOUNTS_UNAVAILABLE, f"no gateway answers at {http.base_url}: {reason}"
        ) from None
    if answer.is_error:
        raise _failure_of(answer, unauthorized=unauthorized, not_there=not_there)
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except msgspec.DecodeError:
        raise HeadraceError(
            ErrorCode.ACCOUNTS_UNAVAILABLE, f"what answers at {http.base_url} is no gateway of this version"
        ) from None


def _failure_of(answer: httpx.Response, *, unauthorized: str, not_there: str) -> HeadraceError:
    if answer.status_code == 401:
        return HeadraceError(ErrorCode.UNAUTHORIZED, unauthorized)
    try:
        detail = msgspec.json.decode(answer.content, type=ErrorBody).error
    except msgspec.DecodeError:
        detail = ErrorDetail(f"what answers at {answer.request.url.host} says {answer.status_code}")
    if answer.status_code == 404 and detail.param is None:
        return HeadraceError(ErrorCode.NOT_FOUND, not_there)
    return HeadraceError(ErrorCode.INVALID_REQUEST, detail.message, param=detail.param)
