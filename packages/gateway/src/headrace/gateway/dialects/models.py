"""The served models, on the one path that OpenAI's and Anthropic's clients share.

Each is answered in the shape that it knows: Anthropic's clients say who they are by a header.
"""

from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from headrace.gateway.asgi import HttpRequest
from headrace.gateway.callers import caller_of
from headrace.gateway.catalogue import ServedModel
from headrace.gateway.describing import (
    Components,
    Schema,
    describe_errors,
    describe_path_parameter,
    describe_read,
)
from headrace.gateway.desk import Desk
from headrace.gateway.dialects.anthropic.answers import AnthropicErrorBody, ModelInfo, ModelPage
from headrace.gateway.dialects.anthropic.models import read_page_query, to_model_info, to_model_page
from headrace.gateway.dialects.openai.wire import Model, ModelList, OpenAIErrorBody
from headrace.gateway.headers import ANTHROPIC_VERSION_HEADER

_VERSION_PARAMETER: Schema = {
    "name": ANTHROPIC_VERSION_HEADER,
    "in": "header",
    "description": "Where it is there, the answer has Anthropic's shape.",
    "schema": {"type": "string"},
}


def make_model_routes(desk: Desk) -> list[HTTPRouteHandler]:
    """Return the route handlers, bound to a desk."""

    @get("/v1/models", sync_to_thread=False)
    def list_models(request: HttpRequest) -> Response[ModelList | ModelPage]:
        models = desk.list_models(caller_of(request))
        if _is_for_anthropic(request):
            return Response(to_model_page(models, read_page_query(request.query_params)))
        return Response(ModelList(data=tuple(_to_model(name, model) for name, model in models.items())))

    # A path, since names of models have slashes in them.
    @get("/v1/models/{model_id:path}", sync_to_thread=False)
    def retrieve_model(request: HttpRequest, model_id: FromPath[str]) -> Response[Model | ModelInfo]:
        name = model_id.removeprefix("/")
        model = desk.find_model(name, caller_of(request))
        return Response(to_model_info(name, model) if _is_for_anthropic(request) else _to_model(name, model))

    return [list_models, retrieve_model]


def _is_for_anthropic(request: HttpRequest) -> bool:
    return ANTHROPIC_VERSION_HEADER in request.headers


def _to_model(name: str, model: ServedModel) -> Model:
    return Model(id=name, created=model.created, owned_by=model.owned_by)


def describe_model_paths(components: Components) -> Schema:
    """Return the paths of the models."""
    errors = describe_errors({"anyOf": [components.of(OpenAIErrorBody), components.of(AnthropicErrorBody)]})
    pages: Schema = {"oneOf": [components.of(ModelList), components.of(ModelPage)]}
    one: Schema = {"oneOf": [components.of(Model), components.of(ModelInfo)]}
    model_id = describe_path_parameter("model_id", "The served name; it may have slashes in it.")
    return {
        "/v1/models": {"get": describe_read("listModels", pages, errors) | {"parameters": [_VERSION_PARAMETER]}},
        "/v1/models/{model_id}": {
            "get": describe_read("retrieveModel", one, errors) | {"parameters": [model_id, _VERSION_PARAMETER]}
        },
    }
