"""The routes of the Responses API in the OpenAPI description."""

from typing import get_args

from headrace.gateway.describing import (
    Components,
    Schema,
    describe_errors,
    describe_generation,
    describe_path_parameter,
    describe_read,
)
from headrace.gateway.dialects.openai.responses.events import StreamEvent
from headrace.gateway.dialects.openai.responses.listing import MAX_PAGE
from headrace.gateway.dialects.openai.responses.objects import DeletedResponse, ItemList, ResponseObject
from headrace.gateway.dialects.openai.responses.wire import ResponseBody
from headrace.gateway.dialects.openai.wire import OpenAIErrorBody

_EVENTS = get_args(StreamEvent)
BODIES = (ResponseBody, ResponseObject, DeletedResponse, ItemList, *_EVENTS)


def describe_paths(components: Components) -> Schema:
    """Return the paths of the Responses API."""
    errors = describe_errors(components.of(OpenAIErrorBody))
    response = components.of(ResponseObject)
    parameters = [describe_path_parameter("response_id", "The id of the response.")]
    of_one: Schema = {"parameters": parameters}
    deletion = describe_read("deleteResponse", components.of(DeletedResponse), errors)
    items = describe_read("listInputItems", components.of(ItemList), errors)
    return {
        "/v1/responses": {
            "post": describe_generation(
                operation_id="createResponse",
                body=components.of(ResponseBody),
                whole=response,
                frame={"oneOf": [components.of(event) for event in _EVENTS]},
                errors=errors,
            )
        },
        "/v1/responses/{response_id}": {
            "get": describe_read("retrieveResponse", response, errors)
            | {"parameters": [*parameters, *_stream_parameters()]},
            "delete": deletion | of_one,
        },
        "/v1/responses/{response_id}/cancel": {"post": describe_read("cancelResponse", response, errors) | of_one},
        "/v1/responses/{response_id}/input_items": {"get": items | {"parameters": [*parameters, *_list_parameters()]}},
    }


def _stream_parameters() -> list[Schema]:
    """Return what asks for the stream of a background response in place of the response."""
    schemas: dict[str, Schema] = {"stream": {"type": "boolean"}, "starting_after": {"type": "integer", "minimum": 0}}
    return [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]


def _list_parameters() -> list[Schema]:
    limit: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_PAGE, "default": 20}
    order: Schema = {"type": "string", "enum": ["asc", "desc"], "default": "desc"}
    schemas: dict[str, Schema] = {"after": {"type": "string"}, "limit": limit, "order": order}
    return [{"name": name, "in": "query", "schema": schema} for name, schema in schemas.items()]
