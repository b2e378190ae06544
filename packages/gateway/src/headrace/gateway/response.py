"""Runs a generation as the answer to a call: submit, read, send, and always close.

The client is watched the whole time, because one that left must not keep a GPU busy. It is watched by a task beside
the one that reads: a send that waits for a client that does not read would otherwise never notice that it is gone.
"""

import asyncio
from collections.abc import Mapping, Sequence

from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send
from msgspec import structs

from headrace.gateway.call import Call, Submits
from headrace.gateway.failure import CallFailedError, Failure, failure_of_error
from headrace.gateway.headers import route_headers
from headrace.gateway.reading import ClientLeftError, watch_client
from headrace.gateway.unexpected import report_unexpected
from headrace.scheduler.base import Generation
from headrace.schema.errors import HeadraceError
from headrace.schema.events import Event, GenerationQueued


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
        headers: of the answer, beside those of the call.

    Attributes:
        call: the call to answer.
        failure: set by `read` where nothing was sent before the generation failed.
        answer_headers: of the answer.
    """

    def __init__(
        self, call: Call, source: Submits, *, media_type: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.answer_headers = {**call.headers, **(headers or {})}
        super().__init__(media_type=media_type, headers=self.answer_headers)
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
            rate_limits = generation.rate_limits
            if rate_limits is not None:
                self.add_headers(self.call.order.dialect.rate_limit_headers(rate_limits))
            try:
                await self._watched(generation, receive, send)
            finally:
                # Shielded, since the server may cancel us while we tell the scheduler to cancel.
                await asyncio.shield(generation.aclose())
                self.call.record = generation.record
            if self.failure is not None:
                seconds = self.call.record.retry_after_seconds
                self.failure = structs.replace(self.failure, retry_after_seconds=seconds)
                self.call.fail(self.failure)
                raise CallFailedError(structs.replace(self.failure, rate_limits=rate_limits))
            if not self.call.client_left:
                self.add_headers(route_headers(self.call.record))
                await self.finish(scope, receive, send)
        finally:
            self.call.close()

    def add_headers(self, headers: Mapping[str, str]) -> None:
        """Send further headers with the answer."""
        self.answer_headers |= headers
        for name, value in headers.items():
            self.headers[name] = value

    async def _watched(self, generation: Generation, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(watch_client(receive, lambda: self.tick(send)))
                await self.read(generation, send)
                watch.cancel()
        except* ClientLeftError:
            self.call.client_left = True

    def say_route(self, generation: Generation, batch: Sequence[Event]) -> None:
        """Have the headers say who answers, as soon as that is settled: one that only waits may yet go elsewhere."""
        if not all(isinstance(event, GenerationQueued) for event in batch):
            self.add_headers(route_headers(generation.record))

    async def read(self, generation: Generation, send: Send) -> None:
        """Read the generation to its end, or set `failure`."""
        raise NotImplementedError

    async def tick(self, send: Send) -> float | None:
        """Do what is due while nothing comes; return when to do it next."""
        raise NotImplementedError

    async def finish(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is left to send when the generation is closed."""
        raise NotImplementedError
