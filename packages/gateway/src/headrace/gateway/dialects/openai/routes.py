"""The routes of OpenAI's API."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.openai.chat.parse import OpenAIParser
from headrace.gateway.dialects.openai.completions.routes import make_completion_route
from headrace.gateway.dialects.openai.embeddings.routes import make_embedding_route
from headrace.gateway.dialects.openai.errors import OpenAIDialect


def make_openai_routes(desk: Desk, dialect: OpenAIDialect) -> list[HTTPRouteHandler]:
    """Return the route handlers, bound to a desk."""
    parser = OpenAIParser()

    @post("/v1/chat/completions", status_code=200)
    async def create_chat_completion(request: HttpRequest) -> ASGIResponse:
        return await desk.answer(request, dialect=dialect, parse=parser.parse)

    return [create_chat_completion, make_completion_route(desk, dialect), make_embedding_route(desk, dialect)]
