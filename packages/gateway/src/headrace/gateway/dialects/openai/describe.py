"""OpenAI's routes in the OpenAPI description."""

from headrace.gateway.describing import (
    Components,
    Schema,
    describe_errors,
    describe_generation,
    describe_path_parameter,
    describe_read,
)
from headrace.gateway.dialects.openai import wire
from headrace.gateway.dialects.openai.chat import wire as chat

BODIES = (
    chat.ChatCompletionBody,
    chat.ChatCompletion,
    chat.ChatCompletionChunk,
    wire.Model,
    wire.ModelList,
    wire.OpenAIErrorBody,
)


def describe_paths(components: Components) -> Schema:
    """Return the paths of OpenAI's API."""
    errors = describe_errors(components.of(wire.OpenAIErrorBody))
    return {
        "/v1/chat/completions": {
            "post": describe_generation(
                operation_id="createChatCompletion",
                body=components.of(chat.ChatCompletionBody),
                whole=components.of(chat.ChatCompletion),
                frame=components.of(chat.ChatCompletionChunk),
                errors=errors,
            )
        },
        "/v1/models": {"get": describe_read("listModels", components.of(wire.ModelList), errors)},
        "/v1/models/{model_id}": {
            "get": describe_read("retrieveModel", components.of(wire.Model), errors)
            | {"parameters": [describe_path_parameter("model_id", "The served name; it may have slashes in it.")]}
        },
    }
