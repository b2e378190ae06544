"""The route of completions in the OpenAPI description."""

from headrace.gateway.describing import Components, Schema, describe_errors, describe_generation
from headrace.gateway.dialects.openai.completions.answers import Completion
from headrace.gateway.dialects.openai.completions.wire import CompletionBody
from headrace.gateway.dialects.openai.wire import OpenAIErrorBody

BODIES = (CompletionBody, Completion)


def describe_completion_paths(components: Components) -> Schema:
    """Return the path of completions."""
    answer = components.of(Completion)
    return {
        "/v1/completions": {
            "post": describe_generation(
                operation_id="createCompletion",
                body=components.of(CompletionBody),
                whole=answer,
                frame=answer,
                errors=describe_errors(components.of(OpenAIErrorBody)),
            )
        }
    }
