"""From generation parameters to vLLM's sampling parameters, as plain values."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from headrace.schema.request import GenerationParameters
from headrace.schema.task import MAX_PRIORITY

KIND = "vllm"

# vLLM takes -1 for "no seed", and not every one of its samplers takes the whole range of ours.
_SEED_RANGE = 2**62

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Keys of JSON objects are texts.
TokenIdText = Annotated[str, Meta(pattern="^[0-9]{1,9}$")]

_REFUSED_TEMPLATE_VARIABLES = frozenset({"chat_template", "tokenize", "return_dict", "return_tensors", "conversation"})

# Ours and vLLM's names are the same for these; where the request says None, the model's own default holds.
_SHARED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "presence_penalty",
    "frequency_penalty",
    "repetition_penalty",
)


class VllmExtension(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What `provider_extensions["vllm"]` may hold.

    Attributes:
        min_tokens: tokens before the model may end the sequence.
        ignore_eos: go on after the model's end token.
        stop_token_ids: tokens that end a sequence.
        allowed_token_ids: the only tokens that may be sampled.
        logit_bias: added to the logits of tokens, by token id.
        bad_words: texts that may not be sampled.
        skip_special_tokens: leave special tokens out of the text.
        chat_template_kwargs: further variables for the model's chat template.
    """

    min_tokens: Annotated[int, Meta(ge=0)] | None = None
    ignore_eos: bool | None = None
    stop_token_ids: tuple[TokenId, ...] | None = None
    allowed_token_ids: tuple[TokenId, ...] | None = None
    logit_bias: dict[TokenIdText, Annotated[float, Meta(ge=-100.0, le=100.0)]] | None = None
    bad_words: tuple[str, ...] | None = None
    skip_special_tokens: bool | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        # With these a client would bring a program of its own, or change what the renderer returns.
        if refused := _REFUSED_TEMPLATE_VARIABLES & self.chat_template_kwargs.keys():
            raise ValueError(f"chat_template_kwargs may not hold {', '.join(sorted(refused))}")


def sampling_arguments(
    parameters: GenerationParameters, extension: VllmExtension | None, *, defaults: dict[str, Any], max_tokens: int
) -> dict[str, Any]:
    """Return the arguments of vLLM's `SamplingParams`.

    Args:
        parameters: of the request.
        extension: the part of the request that is meant for vLLM.
        defaults: the model's own, from its `generation_config.json`, by vLLM's names.
        max_tokens: tokens that a sequence may have.
    """
    arguments = {name: value for name, value in defaults.items() if name in _SHARED}
    for name in _SHARED:
        if (value := getattr(parameters, name)) is not None:
            arguments[name] = value
    arguments["max_tokens"] = max_tokens
    arguments["n"] = parameters.n
    if parameters.seed is not None:
        arguments["seed"] = parameters.seed % _SEED_RANGE
    if parameters.stop:
        arguments["stop"] = list(parameters.stop)
    if extension is not None:
        arguments |= _extension_arguments(extension)
    return arguments


def _extension_arguments(extension: VllmExtension) -> dict[str, Any]:
    given: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(extension).items() if value is not None
    }
    del given["chat_template_kwargs"]
    for name in ("stop_token_ids", "allowed_token_ids", "bad_words"):
        if name in given:
            given[name] = list(given[name])
    if extension.logit_bias is not None:
        given["logit_bias"] = {int(token): bias for token, bias in extension.logit_bias.items()}
    return given


def effective_max_tokens(parameters: GenerationParameters, defaults: dict[str, Any], *, budget: int) -> int:
    """Return the tokens that a sequence may have: what was asked for, or else the model's default within the budget."""
    default = defaults.get("max_tokens")
    if parameters.max_tokens is None and isinstance(default, int):
        return min(default, budget)
    return budget


def engine_priority(priority: int) -> int:
    """Return vLLM's priority, where the lower goes first."""
    return MAX_PRIORITY - priority
