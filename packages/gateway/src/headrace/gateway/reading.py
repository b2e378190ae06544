"""Reads a generation so that it always ends with a terminal event, and notices a client that left."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from litestar.types import Receive

from headrace.gateway.failure import event_of_failure, failure_of_code, failure_of_error
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Generation
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event


class ClientLeftError(Exception):
    """The client closed its connection before it had its answer."""


async def next_batch(generation: Generation) -> Sequence[Event]:
    """Return the next events; whatever goes wrong is the last of them."""
    try:
        return await anext(generation)
    except StopAsyncIteration:
        failure = failure_of_code(ErrorCode.STREAM_BROKEN, "the answer ended before it was whole")
    except HeadraceError as error:
        failure = failure_of_error(error)
    except Exception as error:  # noqa: BLE001 - an edge: what a source may not raise becomes an event
        failure = report_unexpected(error, request_id=generation.request_id)
    return (event_of_failure(failure),)


async def watch_client(receive: Receive, tick: Callable[[], Awaitable[float | None]]) -> None:
    """Wait for the client to leave, and do on the way what is due.

    Args:
        receive: what the client does.
        tick: does what is due, and returns when to call it again, in the loop's time; None for never.

    Raises:
        ClientLeftError: it did.
    """
    due = await tick()
    while True:
        try:
            async with asyncio.timeout_at(due):
                message = await receive()
        except TimeoutError:
            due = await tick()
            continue
        if message["type"] == "http.disconnect":
            raise ClientLeftError
