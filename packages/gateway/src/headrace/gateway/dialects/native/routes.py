"""The routes of the native API."""

from litestar import Response, delete, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.callers import caller_of
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.native.errors import NativeDialect
from headrace.gateway.dialects.native.parse import NativeParser
from headrace.gateway.dialects.native.wire import Cancellation


def make_native_routes(desk: Desk, dialect: NativeDialect) -> list[HTTPRouteHandler]:
    """Return the route handlers, bound to a desk."""
    parser = NativeParser()

    @post("/v1/generations", status_code=200)
    async def create_generation(request: HttpRequest) -> ASGIResponse:
        return await desk.answer(request, dialect=dialect, parse=parser.parse)

    @delete("/v1/generations/{generation_id:str}", status_code=200, sync_to_thread=False)
    def cancel_generation(request: HttpRequest, generation_id: FromPath[str]) -> Response[Cancellation]:
        desk.cancel(generation_id, caller_of(request))
        return Response(Cancellation(generation_id))

    return [create_generation, cancel_generation]
