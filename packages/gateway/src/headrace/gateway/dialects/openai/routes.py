"""The routes of OpenAI's API."""

from litestar import Response, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.openai.chat.parse import OpenAIParser
from headrace.gateway.dialects.openai.errors import OpenAIDialect
from headrace.gateway.dialects.openai.wire import Model, ModelList
from headrace.schema.settings import ModelSettings


def make_openai_routes(desk: Desk, dialect: OpenAIDialect) -> list[HTTPRouteHandler]:
    """Return the route handlers, bound to a desk."""
    parser = OpenAIParser()

    @post("/v1/chat/completions", status_code=200)
    async def create_chat_completion(request: HttpRequest) -> ASGIResponse:
        return await desk.answer(request, dialect=dialect, parse=parser.parse)

    @get("/v1/models", sync_to_thread=False)
    def list_models() -> Response[ModelList]:
        return Response(ModelList(data=tuple(_to_model(name, desk.find_model(name)) for name in desk.deployments)))

    # A path, since names of models have slashes in them.
    @get("/v1/models/{model_id:path}", sync_to_thread=False)
    def retrieve_model(model_id: FromPath[str]) -> Response[Model]:
        name = model_id.removeprefix("/")
        return Response(_to_model(name, desk.find_model(name)))

    return [create_chat_completion, list_models, retrieve_model]


def _to_model(name: str, model: ModelSettings) -> Model:
    return Model(id=name, created=model.created, owned_by=model.owned_by)
