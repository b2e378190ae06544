"""OpenAI's routes in the OpenAPI description."""

from headrace.gateway.describing import (
    Components,
    Schema,
    describe_errors,
    describe_generation,
)
from headrace.gateway.dialects.openai import wire
from headrace.gateway.dialects.openai.chat import answers
from headrace.gateway.dialects.openai.chat import wire as chat
from headrace.gateway.dialects.openai.completions import describe as completions
from headrace.gateway.dialects.openai.embeddings import describe as embeddings

BODIES = (
    chat.ChatCompletionBody,
    answers.ChatCompletion,
    answers.ChatCompletionChunk,
    wire.Model,
    wire.ModelList,
    wire.OpenAIErrorBody,
    *completions.BODIES,
    *embeddings.BODIES,
)


def describe_paths(components: Components) -> Schema:
    """Return the paths of OpenAI's API."""
    errors = describe_errors(components.of(wire.OpenAIErrorBody))
    return {
        "/v1/chat/completions": {
            "post": describe_generation(
                operation_id="createChatCompletion",
                body=components.of(chat.ChatCompletionBody),
                whole=components.of(answers.ChatCompletion),
                frame=components.of(answers.ChatCompletionChunk),
                errors=errors,
            )
        },
        **completions.describe_completion_paths(components),
        **embeddings.describe_embedding_paths(components),
    }
