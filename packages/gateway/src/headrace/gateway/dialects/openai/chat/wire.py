"""The body of a chat completion, and what becomes of each of its fields.

The names are OpenAI's, and below them vLLM's. Nothing outside this folder knows them.
"""

from typing import Annotated, Any

from msgspec import Meta, Struct

from headrace.gateway.dialects.openai.chat.formats import ResponseFormatBody
from headrace.gateway.dialects.openai.chat.messages import ChatMessage
from headrace.gateway.dialects.openai.chat.tools import ToolBody, ToolChoiceBody
from headrace.gateway.dialects.openai.extras import VllmFields
from headrace.schema.request import MAX_SEQUENCES, MAX_STOP_SEQUENCES, MAX_TOP_LOGPROBS, Penalty, TokenCount
from headrace.schema.tools import MAX_TOOLS

StopText = Annotated[str, Meta(min_length=1)]

IGNORED_FIELDS = frozenset(
    {
        "metadata",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "session_id",
        "store",
        "stream_interval",
        "user",
    }
)
"""They change nothing in the answer, so whatever they say is fine."""

UNSUPPORTED_FIELDS: dict[str, tuple[Any, ...]] = {
    "add_special_tokens": (False,),
    "audio": (),
    "cache_salt": (),
    "chat_template": (),
    "documents": ([],),
    "echo": (False,),
    "ec_transfer_params": (),
    "function_call": (),
    "functions": (),
    "include_stop_str_in_output": (False,),
    "kv_transfer_params": (),
    "logprob_token_ids": ([],),
    "media_io_kwargs": ({},),
    "mm_processor_kwargs": ({},),
    "modalities": (["text"],),
    "moderation": (),
    "repetition_detection": (),
    "return_prompt_text": (False,),
    "return_tokens_as_token_ids": (False,),
    "spaces_between_special_tokens": (True,),
    "thinking_token_budget": (),
    "truncate_prompt_tokens": (),
    "truncation_side": (),
    "verbosity": ("medium",),
    "vllm_xargs": ({},),
    "web_search_options": (),
}
"""Fields that OpenAI or vLLM has and we don't, with the values, beside null, that ask for nothing that we lack."""

ADVICE = {"functions": "; use 'tools'", "function_call": "; use 'tool_choice'"}
"""What to use in place of a field."""


class StreamOptions(Struct, frozen=True, kw_only=True):
    """What a stream carries; `include_obfuscation` is ignored."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None
    continuous_usage_stats: bool | None = None


class ChatCompletionBody(VllmFields, frozen=True, kw_only=True):
    """The body of a chat completion: the fields that we support."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[tuple[ChatMessage, ...], Meta(min_length=1)]
    frequency_penalty: Penalty | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    max_completion_tokens: TokenCount | None = None
    max_tokens: TokenCount | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_SEQUENCES)] | None = None
    parallel_tool_calls: bool | None = None
    presence_penalty: Penalty | None = None
    reasoning_effort: str | None = None
    response_format: ResponseFormatBody | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    service_tier: str | None = None
    stop: StopText | Annotated[tuple[StopText, ...], Meta(max_length=MAX_STOP_SEQUENCES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    tool_choice: str | ToolChoiceBody | None = None
    tools: Annotated[tuple[ToolBody, ...], Meta(min_length=1, max_length=MAX_TOOLS)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    add_generation_prompt: bool | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    continue_final_message: bool | None = None
    include_reasoning: bool | None = None
