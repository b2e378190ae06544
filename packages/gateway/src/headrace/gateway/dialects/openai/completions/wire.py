"""The body of a completion, and what becomes of each of its fields.

The names are OpenAI's, and below them vLLM's. Nothing outside this folder knows them.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from headrace.gateway.dialects.openai.chat.formats import ResponseFormatBody
from headrace.gateway.dialects.openai.chat.wire import StopText, StreamOptions
from headrace.gateway.dialects.openai.extras import VllmFields
from headrace.gateway.dialects.openai.prompts import PromptsBody
from headrace.schema.request import MAX_SEQUENCES, MAX_STOP_SEQUENCES, MAX_TOP_LOGPROBS, Penalty

DEFAULT_MAX_TOKENS = 16

IGNORED_FIELDS = frozenset(
    {"mm_payload", "return_mm_kwargs", "return_token_offsets", "session_id", "stream_interval", "user"}
)
"""They change nothing in the answer, so whatever they say is fine."""

UNSUPPORTED_FIELDS: dict[str, tuple[Any, ...]] = {
    "cache_salt": (),
    "ec_transfer_params": (),
    "include_stop_str_in_output": (False,),
    "kv_transfer_params": (),
    "logprob_token_ids": ([],),
    "prompt_embeds": ([],),
    "repetition_detection": (),
    "request_id": (),
    "return_tokens_as_token_ids": (False,),
    "routed_experts_prompt_start": (0,),
    "spaces_between_special_tokens": (True,),
    "suffix": ("",),
    "thinking_token_budget": (),
    "truncate_prompt_tokens": (),
    "truncation_side": (),
    "vllm_xargs": ({},),
    "watermarking": (False,),
}
"""Fields that OpenAI or vLLM has and we don't, with the values, beside null, that ask for nothing that we lack."""

ADVICE = {"suffix": "; write the prompt as the model was trained to fill in"}
"""What to use in place of a field."""


class CompletionBody(VllmFields, frozen=True, kw_only=True):
    """The body of a completion: the fields that we support."""

    model: Annotated[str, Meta(min_length=1)]
    prompt: PromptsBody
    echo: bool | None = None
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    max_tokens: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_SEQUENCES)] | None = None
    presence_penalty: Penalty | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: StopText | Annotated[tuple[StopText, ...], Meta(max_length=MAX_STOP_SEQUENCES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    add_special_tokens: bool | None = None
    response_format: ResponseFormatBody | None = None


class Shown(Struct, frozen=True, kw_only=True):
    """What of an answer is shown.

    Attributes:
        echo: the prompt, before what was generated.
        generated: what was generated; an engine can't generate nothing, so what it does is dropped where nothing was
            asked for.
        logprobs: how many alternatives each token is shown beside; None leaves its log probability out.
        prompt_logprobs: the same for the tokens of the prompt, apart from the answer.
        token_ids: the ids of the tokens.
    """

    echo: bool = False
    generated: bool = True
    logprobs: int | None = None
    prompt_logprobs: int | None = None
    token_ids: bool = False
