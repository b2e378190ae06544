"""Anthropic's routes in the OpenAPI description."""

from headrace.gateway.describing import Components, Schema, describe_errors, describe_generation, describe_read
from headrace.gateway.dialects.anthropic import answers, wire
from headrace.gateway.dialects.anthropic.errors import OVERLOADED_STATUS

BODIES = (
    wire.MessagesBody,
    wire.CountTokensBody,
    answers.MessageAnswer,
    answers.TokensCount,
    answers.ModelInfo,
    answers.ModelPage,
    *answers.FRAMES,
)


def describe_paths(components: Components) -> Schema:
    """Return the paths of Anthropic's API."""
    errors = describe_errors(components.of(answers.AnthropicErrorBody))
    errors = {str(OVERLOADED_STATUS) if status == "503" else status: errors[status] for status in errors}
    count = describe_read("countMessageTokens", components.of(answers.TokensCount), errors)
    count["requestBody"] = {
        "required": True,
        "content": {"application/json": {"schema": components.of(wire.CountTokensBody)}},
    }
    return {
        "/v1/messages": {
            "post": describe_generation(
                operation_id="createMessage",
                body=components.of(wire.MessagesBody),
                whole=components.of(answers.MessageAnswer),
                frame={"oneOf": [components.of(frame) for frame in answers.FRAMES]},
                errors=errors,
            )
        },
        "/v1/messages/count_tokens": {"post": count},
    }
