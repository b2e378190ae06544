"""Reads a request body, up to a limit.

We decode bodies ourselves, so that every mistake in one is told in the shape of the dialect that was spoken.
"""

import asyncio

from headrace.gateway.asgi import HttpRequest
from headrace.schema.errors import ErrorCode, HeadraceError

# A client that has announced a body and does not send it holds a connection for nothing.
BODY_SECONDS = 60.0


async def read_body(request: HttpRequest, *, limit_bytes: int) -> bytes:
    """Read the whole body; see `_read_pieces`.

    Raises:
        HeadraceError: `unsupported_media_type`, `payload_too_large`, `invalid_request` where the body does not come,
            or `cancelled` where the client left before all of it had come.
    """
    _check_media_type(request.headers.get("content-type", ""))
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_pieces(request, limit_bytes=limit_bytes)
    except TimeoutError:
        message = f"the body did not arrive within {BODY_SECONDS:g} seconds"
        raise HeadraceError(ErrorCode.INVALID_REQUEST, message) from None


def _check_media_type(content_type: str) -> None:
    """Refuse what says that it is not JSON: a page of another site may send plain text to this machine unasked."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise HeadraceError(
            ErrorCode.UNSUPPORTED_MEDIA_TYPE,
            f"the body must be JSON: set Content-Type to application/json, not {media_type[:100]}",
            param="Content-Type",
        )


async def _read_pieces(request: HttpRequest, *, limit_bytes: int) -> bytes:
    """Read the whole body.

    Nothing is read of a body that says that it is too large, and no more than the limit and one piece of a body that
    does not say.

    Raises:
        HeadraceError: `payload_too_large`, or `cancelled` where the client left before all of it had come.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit_bytes:
        raise _too_large(limit_bytes)
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise HeadraceError(ErrorCode.CANCELLED, "the client left before its request was whole")
        piece = message.get("body", b"")
        size += len(piece)
        if size > limit_bytes:
            raise _too_large(limit_bytes)
        pieces.append(piece)
        if not message.get("more_body", False):
            return b"".join(pieces)


def _too_large(limit_bytes: int) -> HeadraceError:
    return HeadraceError(ErrorCode.PAYLOAD_TOO_LARGE, f"the body is larger than {limit_bytes} bytes")
