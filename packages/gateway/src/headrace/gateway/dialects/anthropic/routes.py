"""The routes of Anthropic's API."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.anthropic.errors import AnthropicDialect
from headrace.gateway.dialects.anthropic.parse import AnthropicParser


def make_anthropic_routes(desk: Desk, dialect: AnthropicDialect) -> list[HTTPRouteHandler]:
    """Return the route handlers, bound to a desk."""
    parser = AnthropicParser()

    @post("/v1/messages", status_code=200)
    async def create_message(request: HttpRequest) -> ASGIResponse:
        return await desk.answer(request, dialect=dialect, parse=parser.parse)

    @post("/v1/messages/count_tokens", status_code=200)
    async def count_tokens(request: HttpRequest) -> ASGIResponse:
        return await desk.answer(request, dialect=dialect, parse=parser.parse_count)

    return [create_message, count_tokens]
