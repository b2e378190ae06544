"""What OpenAI's API answers, as far as it is read here: chunks of chats and of completions, embeddings, errors.

Every field has a default, since servers of this API leave out what they do not have; what is not named is skipped by
the decoder without being built.
"""

from typing import Any

from msgspec import Struct

from headrace.providers.counts import WireTokenId


class PromptDetails(Struct, gc=False):
    """What the tokens of a prompt were."""

    cached_tokens: int | None = None


class CompletionDetails(Struct, gc=False):
    """What the tokens of an answer were."""

    reasoning_tokens: int | None = None


class UsageBody(Struct, gc=False):
    """Token counts. `prompt_cache_hit_tokens` is DeepSeek's name for what the cache had."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: PromptDetails | None = None
    completion_tokens_details: CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None


class FunctionPiece(Struct, gc=False):
    """What a call grew by."""

    name: str | None = None
    arguments: str | None = None


class GoogleExtra(Struct, gc=False):
    """What Gemini's server of this API adds."""

    thought_signature: str | None = None


class ExtraContent(Struct, gc=False):
    """What vendors add to a call."""

    google: GoogleExtra | None = None


class ToolCallPiece(Struct, gc=False):
    """A piece of a call."""

    index: int | None = None
    id: str | None = None
    function: FunctionPiece | None = None
    extra_content: ExtraContent | None = None


class ThoughtText(Struct, gc=False):
    """A run of text inside a thought, as Mistral writes it."""

    text: str = ""


class ContentPiece(Struct, gc=False):
    """A part of a content that is a list, as Mistral writes thoughts."""

    type: str = ""
    text: str = ""
    thinking: list[ThoughtText] = []


class TopToken(Struct, gc=False):
    """A likely token."""

    token: str
    logprob: float
    bytes: list[int] | None = None


class TokenBody(TopToken, gc=False):
    """A token, with those that were likely in its place."""

    top_logprobs: list[TopToken] | None = None


class ChatLogprobs(Struct, gc=False):
    """Log probabilities of a piece."""

    content: list[TokenBody] | None = None


class Delta(Struct, gc=False):
    """What an answer grew by. Servers have two names for reasoning."""

    content: str | list[ContentPiece] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCallPiece] | None = None


class ChatChoice(Struct, gc=False):
    """A piece of one answer. `stop_reason` and `token_ids` are vLLM's."""

    index: int = 0
    delta: Delta | None = None
    finish_reason: str | None = None
    logprobs: ChatLogprobs | None = None
    stop_reason: int | str | None = None
    token_ids: list[WireTokenId] | None = None


class ChunkBody(Struct, gc=False):
    """What chunks of every kind may have: `error` and `object` say that it is none.

    `message` and `code` are those of an error that older servers write without a frame around it.
    """

    usage: UsageBody | None = None
    error: Any = None
    object: str | None = None
    message: Any = None
    code: Any = None


class ChatChunk(ChunkBody, gc=False):
    """A piece of a chat completion."""

    choices: list[ChatChoice] | None = None


class CompletionLogprobs(Struct, gc=False):
    """Log probabilities in the older form: lists, one item for each token."""

    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None


class CompletionChoice(Struct, gc=False):
    """A piece of one completion."""

    index: int = 0
    text: str | None = None
    finish_reason: str | None = None
    logprobs: CompletionLogprobs | None = None
    stop_reason: int | str | None = None
    token_ids: list[WireTokenId] | None = None


class CompletionChunk(ChunkBody, gc=False):
    """A piece of a completion."""

    choices: list[CompletionChoice] | None = None


class EmbeddingBody(Struct, gc=False):
    """The embedding of one input: numbers, or little-endian 32-bit floats in base64."""

    index: int
    embedding: list[float] | str


class EmbeddingListBody(Struct, gc=False):
    """The embeddings of all inputs."""

    data: list[EmbeddingBody]
    usage: UsageBody | None = None


class ErrorDetail(Struct, gc=False):
    """What an error says. `code` is a word, or with some servers the HTTP status."""

    message: str = ""
    type: str | None = None
    code: str | int | None = None
    param: str | None = None
