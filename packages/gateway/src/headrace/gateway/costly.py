"""Keeps the event loop free of bodies that take long to read.

To decode and to check a body costs microseconds, unless somebody sends megabytes, or schemas full of regular
expressions. Those are read in a thread, so that the streams of others go on; both kinds are told apart before anything
is decoded.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

INLINE_BYTES = 64 * 1024
INLINE_PATTERNS = 4

T = TypeVar("T")


def is_costly(body: bytes) -> bool:
    """Tell whether a body may take more than a few milliseconds to read."""
    return len(body) > INLINE_BYTES or body.count(b"attern") > INLINE_PATTERNS


async def read_body_aside(body: bytes, read: Callable[[bytes], T]) -> T:
    """Return what `read` makes of a body, in a thread if that may take long."""
    return await asyncio.to_thread(read, body) if is_costly(body) else read(body)
