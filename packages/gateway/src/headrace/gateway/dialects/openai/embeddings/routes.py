"""The route of embeddings."""

from litestar import post
from litestar.handlers import HTTPRouteHandler
from litestar.response.base import ASGIResponse

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.base import Dialect
from headrace.gateway.dialects.openai.embeddings.parse import EmbeddingParser


def make_embedding_route(desk: Desk, dialect: Dialect) -> HTTPRouteHandler:
    """Return the route handler, bound to a desk."""
    parser = EmbeddingParser()

    @post("/v1/embeddings", status_code=200)
    async def create_embedding(request: HttpRequest) -> ASGIResponse:
        return await desk.answer(request, dialect=dialect, parse=parser.parse)

    return create_embedding
