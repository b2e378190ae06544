"""The routes of the Responses API."""

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.call import Call
from headrace.gateway.callers import caller_of
from headrace.gateway.costly import read_body_aside
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.base import ParsedCall
from headrace.gateway.dialects.openai.responses.answering import KeptAnswer, KeptStream
from headrace.gateway.dialects.openai.responses.background import BackgroundRuns
from headrace.gateway.dialects.openai.responses.errors import ResponsesDialect
from headrace.gateway.dialects.openai.responses.items import InputItem, MessageItem
from headrace.gateway.dialects.openai.responses.keeping import Keeper, read_items
from headrace.gateway.dialects.openai.responses.listing import read_page_query, read_stream_query, to_page
from headrace.gateway.dialects.openai.responses.objects import DeletedResponse
from headrace.gateway.dialects.openai.responses.parse import BodyReader, to_request
from headrace.gateway.dialects.openai.responses.render import ResponseRendering
from headrace.gateway.dialects.openai.responses.retained import RetainedResponses
from headrace.gateway.dialects.openai.responses.shared import SharedResponseStore
from headrace.gateway.dialects.openai.responses.shelf import Shelf
from headrace.gateway.dialects.openai.responses.store import MemoryResponseStore, ResponseStore, StoredResponse
from headrace.gateway.dialects.openai.responses.wire import ResponseBody
from headrace.gateway.dialects.openai.tiers import to_lane
from headrace.gateway.retained.reader import OpenedSource
from headrace.gateway.retained.wish import RetentionWish
from headrace.gateway.sse import EventStreamResponse
from headrace.scheduler.base import Submission
from headrace.schema.settings import GatewaySettings
from headrace.transport.records import Records

_MEDIA_TYPE = "application/json"


class ResponsesDesk:
    """Takes calls for responses: looks up what they refer to, and answers them as they asked.

    Args:
        desk: where generations are handed in.
        store: where responses are kept.
    """

    def __init__(self, desk: Desk, store: ResponseStore) -> None:
        self._desk = desk
        self._dialect = ResponsesDialect()
        self._reader = BodyReader()
        self._runs = BackgroundRuns(desk.detached)
        self.shelf = Shelf(store, self._runs, RetainedResponses(desk, store))

    async def create(self, http: HttpRequest) -> ASGIResponse:
        """Return the answer to a call, which begins when it is sent; a background call has begun by then.

        Raises:
            HeadraceError: the call can't be taken.
            CallFailedError: a background call is not accepted.
        """
        body = await read_body_aside(await self._desk.read(http), self._reader.read)
        tenant_id = caller_of(http).tenant_id
        history = await self.shelf.read_history(body.previous_response_id, tenant_id)
        said = await self.shelf.resolve(_items_of(body), tenant_id)
        request = to_request(body, history=history.items, items=said.items)
        # A retained call that was sent before gets the rendering of the id that it has.
        renderings: list[ResponseRendering] = []

        def render(submission: Submission) -> ResponseRendering:
            renderings.append(ResponseRendering.of(submission.request_id, body=body))
            return renderings[-1]

        parsed = ParsedCall(
            request=request,
            rendering=render,
            stream=body.stream is True,
            local_only=history.local_only or said.local_only,
            lane=to_lane(body.service_tier),
            # What is streamed must be there to be gone on with; what is only fetched is better off for it.
            retention=RetentionWish(is_asked=body.stream is True, param="background") if body.background else None,
        )
        call, source = await self._desk.take(http, dialect=self._dialect, parsed=parsed)
        rendering = renderings[-1]
        store = self.shelf.store if body.is_kept else None
        submission = call.order.submission
        keeper = Keeper(
            store,
            history=history.items,
            items=said.items,
            response_id=rendering.created.id,
            tenant_id=tenant_id,
            local_only=submission.local_only or submission.caller.local_only,
        )
        if body.background and body.stream and isinstance(source, OpenedSource):
            return await self._stream_background(call, source, rendering, keeper)
        if body.background:
            record = await self._runs.start(call, source, rendering.make_fold(), keeper)
            return ASGIResponse(body=record.response, media_type=_MEDIA_TYPE, headers=call.headers)
        if body.stream:
            return KeptStream(call, source, self._desk.settings, rendering=rendering, keeper=keeper)
        return KeptAnswer(call, source, rendering=rendering, keeper=keeper)

    async def _stream_background(
        self, call: Call, source: OpenedSource, rendering: ResponseRendering, keeper: Keeper
    ) -> EventStreamResponse:
        """Return the stream of a response that is made whether or not its client stays."""
        try:
            followed, further = await self._desk.follow(call)
            await self._runs.start(followed, further, rendering.make_fold(), keeper)
        except BaseException:
            await source.reader.aclose()
            raise
        return EventStreamResponse(call, source, self._desk.settings)


def make_store(settings: GatewaySettings, records: Records | None) -> ResponseStore:
    """Return the store that the settings ask for: what all gateways share, where they share something."""
    if records is not None:
        return SharedResponseStore(
            records, max_bytes=settings.response_store_bytes, max_seconds=settings.response_store_seconds
        )
    return MemoryResponseStore(
        max_bytes=settings.response_store_bytes,
        max_count=settings.response_store_count,
        max_seconds=settings.response_store_seconds,
    )


def _items_of(body: ResponseBody) -> tuple[InputItem, ...]:
    return (MessageItem(role="user", content=body.input),) if isinstance(body.input, str) else body.input


def make_responses_routes(desk: Desk, records: Records | None = None) -> list[HTTPRouteHandler]:
    """Return the route handlers, bound to a desk.

    Args:
        desk: where generations are handed in.
        records: what all gateways share; without it responses are kept in this process.
    """
    responses = ResponsesDesk(desk, make_store(desk.settings, records))
    shelf = responses.shelf

    @post("/v1/responses", status_code=200)
    async def create_response(request: HttpRequest) -> ASGIResponse:
        return await responses.create(request)

    @get("/v1/responses/{response_id:str}")
    async def retrieve_response(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        query = {name: str(value) for name, value in request.query_params.items()}
        if (after := read_stream_query(query)) is None:
            return _show(await shelf.find(response_id, caller_of(request).tenant_id))
        return await shelf.stream(response_id, caller_of(request).tenant_id, after=after)

    @delete("/v1/responses/{response_id:str}", status_code=200)
    async def delete_response(request: HttpRequest, response_id: FromPath[str]) -> Response[DeletedResponse]:
        await shelf.delete(response_id, caller_of(request).tenant_id)
        return Response(DeletedResponse(id=response_id))

    @post("/v1/responses/{response_id:str}/cancel", status_code=200)
    async def cancel_response(request: HttpRequest, response_id: FromPath[str]) -> ASGIResponse:
        return _show(await shelf.cancel(response_id, caller_of(request).tenant_id))

    @get("/v1/responses/{response_id:str}/input_items")
    async def list_input_items(request: HttpRequest, response_id: FromPath[str]) -> Response[bytes]:
        query = read_page_query({name: str(value) for name, value in request.query_params.items()})
        page = to_page(read_items(await shelf.find(response_id, caller_of(request).tenant_id)), query)
        return Response(msgspec.json.encode(page), media_type=_MEDIA_TYPE)

    return [create_response, retrieve_response, delete_response, cancel_response, list_input_items]


def _show(record: StoredResponse) -> ASGIResponse:
    return ASGIResponse(body=record.response, media_type=_MEDIA_TYPE)
