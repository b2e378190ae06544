"""The routes of the native API."""

from litestar import Response, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.callers import caller_of
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.native.errors import NativeDialect
from headrace.gateway.dialects.native.parse import NativeParser
from headrace.gateway.dialects.native.retained import RetainedDesk
from headrace.gateway.dialects.native.wire import Cancellation


def make_native_routes(desk: Desk, dialect: NativeDialect) -> list[HTTPRouteHandler]:
    """Return the route handlers, bound to a desk."""
    parser = NativeParser()
    retained = RetainedDesk(desk, dialect)

    @post("/v1/generations", status_code=200)
    async def create_generation(request: HttpRequest) -> ASGIResponse:
        return await desk.answer(request, dialect=dialect, parse=parser.parse)

    @get("/v1/generations/{generation_id:str}")
    async def show_generation(request: HttpRequest, generation_id: FromPath[str]) -> ASGIResponse:
        return await retained.show(request, generation_id)

    @delete("/v1/generations/{generation_id:str}", status_code=200)
    async def cancel_generation(request: HttpRequest, generation_id: FromPath[str]) -> Response[Cancellation]:
        await desk.cancel(generation_id, caller_of(request))
        return Response(Cancellation(generation_id))

    return [create_generation, show_generation, cancel_generation]
