"""Background responses whose generations are retained: what became of them is known to every gateway.

The record of such a response is kept when it begins, and in the end by the gateway that began it. Should that one die,
another goes on with the generation, which knows nothing of responses: so whoever asks for one that has not ended makes
it anew of the events that there are.
"""

import asyncio
import time
from collections.abc import Sequence

import msgspec
from msgspec import structs

from headrace.gateway.answer import Answer
from headrace.gateway.call import Call
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.base import Order
from headrace.gateway.dialects.openai.responses.errors import ResponsesDialect, stream_not_kept
from headrace.gateway.dialects.openai.responses.fold import ResponseFold
from headrace.gateway.dialects.openai.responses.identity import to_request_id
from headrace.gateway.dialects.openai.responses.keeping import OPEN_STATUSES, read_response
from headrace.gateway.dialects.openai.responses.objects import ResponseError, ResponseObject
from headrace.gateway.dialects.openai.responses.output import SilentListener
from headrace.gateway.dialects.openai.responses.render import ResponseRendering
from headrace.gateway.dialects.openai.responses.store import ResponseStore, StoredResponse
from headrace.gateway.headers import RETAINED_HEADER
from headrace.gateway.retained.kept import Taken
from headrace.gateway.retained.numbering import is_empty
from headrace.gateway.retained.reader import OpenedSource, RetainedReader
from headrace.gateway.sse import EventStreamResponse
from headrace.schema.caller import Caller
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event

# A generation that is cancelled ends in a moment, wherever it runs.
CANCEL_SECONDS = 5.0


class RetainedResponses:
    """Finds what became of responses that other gateways may run.

    Args:
        desk: knows the retained generations.
        store: keeps their records.
    """

    def __init__(self, desk: Desk, store: ResponseStore) -> None:
        self._desk = desk
        self._store = store

    async def refresh(self, record: StoredResponse) -> StoredResponse:
        """Return a record that had not ended as it is now.

        Raises:
            HeadraceError: what is retained can't be reached.
        """
        if (taken := await self._take_up(record)) is None:
            return await self._keep(record, _lost(read_response(record)))
        fold = ResponseFold(to_created_again(record), SilentListener())
        fold.add_all(taken.reader.so_far())
        await taken.reader.aclose()
        return await self._keep(record, fold.snapshot())

    async def cancel(self, record: StoredResponse) -> StoredResponse:
        """Cancel a response wherever it runs, and return it as it ended, or as it stands after some seconds.

        Raises:
            HeadraceError: what is retained can't be reached.
        """
        if (taken := await self._take_up(record)) is None:
            return await self.refresh(record)
        try:
            if self._desk.retained is not None:
                await self._desk.retained.cancel(to_request_id(record.id), Caller(tenant_id=record.tenant_id))
            fold = ResponseFold(to_created_again(record), SilentListener())
            await _read_to_end(taken.reader, fold)
        finally:
            await taken.reader.aclose()
        return await self._keep(record, fold.snapshot())

    async def stream(self, record: StoredResponse, *, after: int) -> EventStreamResponse:
        """Return the stream of a response again, without the frames up to a number.

        Raises:
            HeadraceError: `invalid_request`: its events are not kept, or no more.
        """
        if (taken := await self._take_up(record)) is None:
            raise stream_not_kept()
        ended_at = read_response(record).completed_at
        rendering = ResponseRendering(
            to_created_again(record), after=after, clock=time.time if ended_at is None else lambda: ended_at
        )
        order = Order(
            submission=taken.submission, dialect=ResponsesDialect(), rendering=_ShownEvents(rendering), stream=True
        )
        call = Call(order, (), headers={RETAINED_HEADER: "true"})
        return EventStreamResponse(call, OpenedSource(taken.reader), self._desk.settings)

    async def _take_up(self, record: StoredResponse) -> Taken | None:
        try:
            return await self._desk.take_up(to_request_id(record.id), Caller(tenant_id=record.tenant_id))
        except HeadraceError as error:
            if error.code != ErrorCode.NOT_FOUND:
                raise
            return None

    async def _keep(self, record: StoredResponse, response: ResponseObject) -> StoredResponse:
        is_open = response.status in OPEN_STATUSES
        now = structs.replace(record, response=msgspec.json.encode(response), is_open=is_open)
        if not is_open:
            await self._store.replace(now)
        return now


class _ShownEvents:
    """A `Rendering` that is told what a retained stream is made of: the events of which something is shown."""

    def __init__(self, rendering: ResponseRendering) -> None:
        self._rendering = rendering

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return the frames of the next events."""
        return self._rendering.render_events([event for event in events if not is_empty(event)])

    def render_answer(self, answer: Answer) -> bytes:
        """Return the body of a whole answer."""
        return self._rendering.render_answer(answer)


async def _read_to_end(reader: RetainedReader, fold: ResponseFold) -> None:
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            async for events in reader:
                fold.add_all(events)
    except TimeoutError:
        return


def to_created_again(record: StoredResponse) -> ResponseObject:
    """Return a response as it was before anything had come of it."""
    return structs.replace(
        read_response(record),
        status="queued",
        output=(),
        usage=None,
        error=None,
        completed_at=None,
        incomplete_details=None,
    )


def _lost(response: ResponseObject) -> ResponseObject:
    error = ResponseError(code="server_error", message="what became of this response is kept no more; send it again")
    return structs.replace(response, status="failed", error=error)
