"""The native routes in the OpenAPI description."""

from headrace.gateway.describing import (
    Components,
    Schema,
    describe_errors,
    describe_generation,
    describe_path_parameter,
    describe_read,
    describe_retained,
)
from headrace.gateway.dialects.native import wire
from headrace.gateway.headers import REQUEST_ID_HEADER

BODIES = (
    wire.GenerationBody,
    wire.GenerationAnswer,
    wire.ChunkFrame,
    wire.RetainedGeneration,
    wire.Cancellation,
    wire.ErrorBody,
)


def describe_paths(components: Components) -> Schema:
    """Return the paths of the native API."""
    errors = describe_errors(components.of(wire.ErrorBody))
    return {
        "/v1/generations": {
            "post": describe_generation(
                operation_id="createGeneration",
                body=components.of(wire.GenerationBody),
                whole=components.of(wire.GenerationAnswer),
                frame=components.of(wire.ChunkFrame),
                errors=errors,
            )
        },
        "/v1/generations/{generation_id}": {
            "get": describe_retained(components.of(wire.RetainedGeneration), components.of(wire.ChunkFrame), errors)
            | {"parameters": [describe_path_parameter("generation_id", f"What the header {REQUEST_ID_HEADER} said.")]},
            "delete": describe_read("cancelGeneration", components.of(wire.Cancellation), errors)
            | {"parameters": [describe_path_parameter("generation_id", f"What the header {REQUEST_ID_HEADER} said.")]},
        },
    }
