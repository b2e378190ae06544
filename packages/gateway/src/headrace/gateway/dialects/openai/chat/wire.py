"""The bodies of chat completions, and what becomes of each of their fields.

The names are OpenAI's. Nothing outside this folder knows them.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.gateway.dialects.openai.wire import CompletionUsage
from headrace.schema.request import MAX_SEQUENCES, MAX_STOP_SEQUENCES, Penalty, TokenCount

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
StopText = Annotated[str, Meta(min_length=1)]

IGNORED_FIELDS = frozenset({"metadata", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user"})
"""They change nothing in the answer, so whatever they say is fine."""

UNSUPPORTED_FIELDS: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "function_call": ("none", "auto"),
    "functions": ([],),
    "logit_bias": ({},),
    "logprobs": (False,),
    "modalities": (["text"],),
    "moderation": (),
    "parallel_tool_calls": (True, False),
    "prediction": (),
    "prompt_cache_options": (),
    "prompt_cache_retention": (),
    "reasoning_effort": (),
    "response_format": ({"type": "text"},),
    "tool_choice": ("none", "auto"),
    "tools": ([],),
    "top_logprobs": (0,),
    "verbosity": (),
    "web_search_options": (),
}
"""Fields that OpenAI has and we don't yet, with the values, beside null, that ask for nothing that we lack."""

UNSUPPORTED_MESSAGE_FIELDS = ("audio", "annotations", "function_call", "refusal", "tool_call_id", "tool_calls")
"""The same for messages: clients send an answer back as they got it, with these null or empty."""


class MessagePart(Struct, frozen=True, kw_only=True):
    """A part of a message; only `text` is supported."""

    type: str
    text: str | None = None
    file: Any = None
    image_url: Any = None
    input_audio: Any = None
    refusal: Any = None


class ChatMessage(Struct, frozen=True, kw_only=True):
    """A message as clients send it."""

    role: str
    content: str | tuple[MessagePart, ...] | None = None
    name: Annotated[str, Meta(max_length=256)] | None = None
    audio: Any = None
    annotations: Any = None
    function_call: Any = None
    refusal: Any = None
    tool_call_id: Any = None
    tool_calls: Any = None


class StreamOptions(Struct, frozen=True, kw_only=True):
    """What a stream carries; `include_obfuscation` is ignored."""

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatCompletionBody(Struct, frozen=True, kw_only=True):
    """The body of a chat completion: the fields that we support.

    `min_p`, `repetition_penalty` and `top_k` are vLLM's, and mean what they mean there.
    """

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[tuple[ChatMessage, ...], Meta(min_length=1)]
    frequency_penalty: Penalty | None = None
    max_completion_tokens: TokenCount | None = None
    max_tokens: TokenCount | None = None
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    n: Annotated[int, Meta(ge=1, le=MAX_SEQUENCES)] | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: StopText | Annotated[tuple[StopText, ...], Meta(max_length=MAX_STOP_SEQUENCES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None


class AnswerMessage(Struct, frozen=True, kw_only=True):
    """The message of a choice."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None


class Choice(Struct, frozen=True, kw_only=True):
    """One sampled answer."""

    index: int
    message: AnswerMessage
    logprobs: None = None
    finish_reason: FinishReason


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """A whole answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: CompletionUsage
    system_fingerprint: str | None = None


class Delta(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a choice grew by."""

    role: Literal["assistant"] | None = None
    content: str | None = None


class ChunkChoice(Struct, frozen=True, kw_only=True):
    """A choice in a frame of a stream."""

    index: int
    delta: Delta
    logprobs: None = None
    finish_reason: FinishReason | None = None


class ChatCompletionChunk(Struct, frozen=True, kw_only=True):
    """A frame of a stream. `usage` is there only if `stream_options.include_usage` is true."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str | None = None
    choices: tuple[ChunkChoice, ...]
    usage: CompletionUsage | None = None
