"""From generation parameters to vLLM's sampling parameters, as plain values."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.names import Lane
from headrace.schema.request import GenerationParameters, OutputFlags
from headrace.schema.task import MAX_PRIORITY
from headrace.worker.engines.extensions import FIELD

KIND = "vllm"

# vLLM takes -1 for "no seed", and not every one of its samplers takes the whole range of ours.
_SEED_RANGE = 2**62

TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]

_REFUSED_TEMPLATE_VARIABLES = frozenset(
    {"chat_template", "tokenize", "return_dict", "return_tensors", "conversation", "tools", "messages"}
)
_NO_FLAGS = OutputFlags()

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
        stop_token_ids: tokens that end a sequence.
        allowed_token_ids: the only tokens that may be sampled.
        bad_words: texts that may not be sampled.
        skip_special_tokens: leave special tokens out of the text.
        chat_template_kwargs: variables for the model's chat template. Two of them every template has:
            `add_generation_prompt` (true unless it is said) ends the prompt with the beginning of an answer, and
            `continue_final_message` takes the last message as that beginning, to go on from there.
    """

    stop_token_ids: tuple[TokenId, ...] | None = None
    allowed_token_ids: tuple[TokenId, ...] | None = None
    bad_words: tuple[str, ...] | None = None
    skip_special_tokens: bool | None = None
    chat_template_kwargs: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        # With these a client would bring a program of its own, or change what the renderer returns.
        if refused := _REFUSED_TEMPLATE_VARIABLES & self.chat_template_kwargs.keys():
            raise _refuse_template(f"chat_template_kwargs may not hold {', '.join(sorted(refused))}")
        if self.continues and self.chat_template_kwargs.get("add_generation_prompt"):
            raise _refuse_template("continue_final_message and add_generation_prompt exclude each other")

    @property
    def continues(self) -> bool:
        """Whether the answer goes on where the last message ends."""
        return bool(self.chat_template_kwargs.get("continue_final_message"))

    @property
    def template_arguments(self) -> dict[str, Any]:
        """All variables of the chat template."""
        return {"add_generation_prompt": not self.continues} | self.chat_template_kwargs


def _refuse_template(message: str) -> HeadraceError:
    param = f"{FIELD}.{KIND}.chat_template_kwargs"
    return HeadraceError(ErrorCode.INVALID_REQUEST, message, param=param)


def sampling_arguments(
    parameters: GenerationParameters,
    extension: VllmExtension | None,
    *,
    defaults: dict[str, Any],
    max_tokens: int,
    flags: OutputFlags = _NO_FLAGS,
) -> dict[str, Any]:
    """Return the arguments of vLLM's `SamplingParams`.

    Args:
        parameters: of the request.
        extension: the part of the request that is meant for vLLM.
        defaults: the model's own, from its `generation_config.json`, by vLLM's names.
        max_tokens: tokens that a sequence may have.
        flags: what the answer is to tell.
    """
    arguments = _choice_arguments(parameters, defaults)
    arguments["max_tokens"] = max_tokens
    further = {
        "stop": list(parameters.stop),
        "min_tokens": parameters.min_tokens,
        "ignore_eos": parameters.ignore_eos,
        "logit_bias": dict(parameters.logit_bias),
    }
    arguments |= {name: value for name, value in further.items() if value}
    if flags.logprobs:
        arguments["logprobs"] = flags.top_logprobs
    if flags.prompt and flags.prompt_logprobs is not None:
        arguments["prompt_logprobs"] = flags.prompt_logprobs
    if extension is not None:
        arguments |= _extension_arguments(extension)
    return arguments


def _choice_arguments(parameters: GenerationParameters, defaults: dict[str, Any]) -> dict[str, Any]:
    """Return how tokens are chosen, and for how many sequences."""
    if parameters.beam_search is not None:
        # A search chooses for itself, and vLLM refuses several sequences at the temperature 0.
        return {"n": 1}
    arguments = {name: value for name, value in defaults.items() if name in _SHARED}
    for name in _SHARED:
        if (value := getattr(parameters, name)) is not None:
            arguments[name] = value
    arguments["n"] = parameters.n
    if parameters.seed is not None:
        arguments["seed"] = parameters.seed % _SEED_RANGE
    return arguments


def _extension_arguments(extension: VllmExtension) -> dict[str, Any]:
    given: dict[str, Any] = msgspec.structs.asdict(extension)
    del given["chat_template_kwargs"]
    return {
        name: list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType]
        for name, value in given.items()
        if value is not None
    }


def effective_max_tokens(parameters: GenerationParameters, defaults: dict[str, Any], *, budget: int) -> int:
    """Return the tokens that a sequence may have: what was asked for, or else the model's default within the budget."""
    default = defaults.get("max_tokens")
    if parameters.max_tokens is None and isinstance(default, int):
        return min(default, budget)
    return budget


def engine_priority(priority: int, lane: Lane = "online") -> int:
    """Return vLLM's priority, where the lower goes first, and the batch lane after every online one."""
    return MAX_PRIORITY - priority + (MAX_PRIORITY + 1 if lane == "batch" else 0)
