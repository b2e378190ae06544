"""Reads a request body, up to a limit.

We decode bodies ourselves, so that every mistake in one is told in the shape of the dialect that was spoken.
"""

from headrace.gateway.asgi import HttpRequest
from headrace.schema.errors import ErrorCode, HeadraceError


async def read_body(request: HttpRequest, *, limit_bytes: int) -> bytes:
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
