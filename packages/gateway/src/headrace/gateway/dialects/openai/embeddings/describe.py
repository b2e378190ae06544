"""The route of embeddings in the OpenAPI description."""

from headrace.gateway.describing import Components, Schema, describe_errors, describe_read
from headrace.gateway.dialects.openai.embeddings.wire import EmbeddingBody, EmbeddingList
from headrace.gateway.dialects.openai.wire import OpenAIErrorBody

BODIES = (EmbeddingBody, EmbeddingList)


def describe_embedding_paths(components: Components) -> Schema:
    """Return the path of embeddings."""
    errors = describe_errors(components.of(OpenAIErrorBody))
    call = describe_read("createEmbedding", components.of(EmbeddingList), errors)
    body = {"application/json": {"schema": components.of(EmbeddingBody)}}
    return {"/v1/embeddings": {"post": call | {"requestBody": {"required": True, "content": body}}}}
