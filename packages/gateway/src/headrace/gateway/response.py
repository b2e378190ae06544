"""Runs a generation as the answer to a call: submit, read, send, and always close.

The client is watched the whole time, because one that left must not keep a GPU busy. It is watched by a task beside
the one that reads: a send that waits for a client that does not read would otherwise never notice that it is gone.
"""

import asyncio
from collections.abc import Mapping

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from headrace.gateway.call import Call, Submits
from headrace.gateway.failure import CallFailedError, Failure, failure_of_error
from headrace.gateway.reading import ClientLeftError, watch_client
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Generation
from headrace.schema.errors import HeadraceError


async def submit(call: Call, source: Submits) -> Generation:
    """Submit a call.

    Raises:
        CallFailedError: it is not accepted.
    """
    try:
        return await source.submit(call.order.submission)
    except HeadraceError as error:
        failure = failure_of_error(error)
    except Exception as error:  # noqa: BLE001 - an edge: what a source may not raise is answered as ours
        failure = report_unexpected(error, request_id=call.order.submission.request_id)
    call.fail(failure)
    raise CallFailedError(failure)


class GenerationResponse(ASGIResponse):
    """What both kinds of answer share.

    Args:
        call: the call to answer.
        source: takes its submission.
        media_type: of the answer.
        headers: of the answer, beside the request id.

    Attributes:
        call: the call to answer.
        failure: set by `read` where nothing was sent before the generation failed.
    """

    def __init__(
        self, call: Call, source: Submits, *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(media_type=media_type, headers={**call.headers, **(headers or {})})
        self.call = call
        self.failure: Failure | None = None
        self._source = source

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and close the generation exactly once, however it goes.

        Raises:
            CallFailedError: it failed before anything was sent.
        """
        self.call.open()
        try:
            generation = await submit(self.call, self._source)
            try:
                await self._watched(generation, receive, send)
            finally:
                # Shielded, since the server may cancel us while we tell the scheduler to cancel.
                await asyncio.shield(generation.aclose())
            if self.failure is not None:
                self.call.fail(self.failure)
                raise CallFailedError(self.failure)
            if not self.call.client_left:
                await self.finish(scope, receive, send)
        finally:
            self.call.close()

    async def _watched(self, generation: Generation, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(watch_client(receive, lambda: self.tick(send)))
                await self.read(generation, send)
                watch.cancel()
        except* ClientLeftError:
            self.call.client_left = True

    async def read(self, generation: Generation, send: Send) -> None:
        """Read the generation to its end, or set `failure`."""
        raise NotImplementedError

    async def tick(self, send: Send) -> float | None:
        """Do what is due while nothing comes; return when to do it next."""
        raise NotImplementedError

    async def finish(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is left to send when the generation is closed."""
        raise NotImplementedError
