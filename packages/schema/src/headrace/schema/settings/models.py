"""Settings of the served models."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

DEMO_MODEL = "smollm2-135m-instruct"


class ModelSettings(Struct, frozen=True, kw_only=True):
    """One served model."""

    weights: Annotated[
        str,
        Meta(
            description="A folder with safetensors, or `s3://BUCKET/FOLDER` (fetched once to this node), or "
            "`demo:smollm2-135m-instruct`, or `tiny:random` (for tests)."
        ),
    ]
    engine: Annotated[
        Literal["default", "vllm", "scripted"],
        Meta(description="The engine of this model; `default` is what engine.kind says."),
    ] = "default"
    slots: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            description="Generations that one worker runs at once: its prefetch, and the engine's batch.",
        ),
    ] = 16
    batch_slots: Annotated[
        int,
        Meta(
            ge=-1,
            le=65535,
            description="Generations of the batch lane that one worker holds at once, running or paused; "
            "0 is as many as slots, -1 takes none.",
        ),
    ] = 0
    max_model_tokens: Annotated[
        int, Meta(ge=16, le=2**31 - 1, description="Context length, prompt and output together, in tokens.")
    ] = 2048
    kv_cache_bytes: Annotated[
        int,
        Meta(ge=0, description="Memory for the KV cache in bytes; 0 lets the engine decide (on a CPU: 512 MiB)."),
    ] = 0
    kv_reserve: Annotated[
        float,
        Meta(
            ge=0.0,
            le=0.9,
            description="Share of the KV cache that stays free for running answers to grow: with less, the worker "
            "takes no more tasks until twice as much is free.",
        ),
    ] = 0.1
    created: Annotated[
        int, Meta(ge=0, description="When the model was made, Unix seconds, as /v1/models shows it.")
    ] = 1730419200
    owned_by: Annotated[str, Meta(description="Owner, as /v1/models shows it.")] = "headrace"
    task: Annotated[
        Literal["generate", "embed"],
        Meta(description="`generate` answers; `embed` makes embeddings, and takes no chat."),
    ] = "generate"
    tool_parser: Annotated[
        str,
        Meta(
            description="vLLM's parser of tool calls in what the model writes: hermes, llama3_json, …; "
            "`auto` chooses by the model's chat template."
        ),
    ] = "auto"
    reasoning_parser: Annotated[
        str,
        Meta(
            description="Which parser of vLLM tells reasoning from the answer: qwen3, deepseek_r1, …; "
            "empty for a model that does not think aloud."
        ),
    ] = ""
    adapters: Annotated[
        dict[str, str],
        Meta(description="LoRA adapters: a served name of its own for each, and the folder with its weights."),
    ] = field(default_factory=dict[str, str])
    engine_options: Annotated[
        dict[str, Any],
        Meta(description="Further arguments for the engine, by its own names; only the engine checks them."),
    ] = field(default_factory=dict[str, Any])


def demo_models() -> dict[str, ModelSettings]:
    """Return the models that are served when the settings name none."""
    return {DEMO_MODEL: ModelSettings(weights=f"demo:{DEMO_MODEL}")}


def served_names(models: Mapping[str, ModelSettings]) -> dict[str, str]:
    """Return every name that a request may ask for, with the model whose workers answer: models, and their adapters."""
    names = {name: name for name in models}
    for name, model in models.items():
        for adapter in model.adapters:
            names.setdefault(adapter, name)
    return names
