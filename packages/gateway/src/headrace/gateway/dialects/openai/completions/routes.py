"""The route of completions."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.base import Dialect
from headrace.gateway.dialects.openai.completions.parse import CompletionParser


def make_completion_route(desk: Desk, dialect: Dialect) -> HTTPRouteHandler:
    """Return the route handler, bound to a desk."""
    parser = CompletionParser()

    @post("/v1/completions", status_code=200)
    async def create_completion(request: HttpRequest) -> ASGIResponse:
        return await desk.answer(request, dialect=dialect, parse=parser.parse)

    return create_completion
