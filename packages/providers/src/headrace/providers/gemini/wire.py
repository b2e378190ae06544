"""What Gemini's API answers, as far as it is read here: pieces of a stream, embeddings, token counts, errors."""

from typing import Any

from msgspec import Raw, Struct

from headrace.providers.counts import WireTokenId


class FunctionCall(Struct, gc=False):
    """A call, whole: this API does not stream the arguments."""

    name: str = ""
    id: str | None = None
    args: Raw = Raw(b"")


class Part(Struct, gc=False, rename="camel"):
    """A part of a piece."""

    text: str | None = None
    thought: bool | None = None
    thought_signature: str | None = None
    function_call: FunctionCall | None = None


class Content(Struct, gc=False):
    """What an answer grew by."""

    parts: list[Part] | None = None


class LikelyToken(Struct, gc=False, rename="camel"):
    """A token with its log probability."""

    token: str = ""
    token_id: WireTokenId = -1
    log_probability: float = -9999.0


class LikelyTokens(Struct, gc=False):
    """The likeliest tokens of one place."""

    candidates: list[LikelyToken] = []


class LogprobsResult(Struct, gc=False, rename="camel"):
    """Log probabilities of a piece."""

    chosen_candidates: list[LikelyToken] = []
    top_candidates: list[LikelyTokens] = []


class Candidate(Struct, gc=False, rename="camel"):
    """A piece of one answer."""

    index: int = 0
    content: Content | None = None
    finish_reason: str | None = None
    logprobs_result: LogprobsResult | None = None


class UsageBody(Struct, gc=False, rename="camel"):
    """Token counts so far. Thoughts are not among the candidates' tokens."""

    prompt_token_count: int | None = None
    candidates_token_count: int | None = None
    thoughts_token_count: int | None = None
    cached_content_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None


class PromptFeedback(Struct, gc=False, rename="camel"):
    """Why a prompt was not answered."""

    block_reason: str | None = None


class GenerateChunk(Struct, gc=False, rename="camel"):
    """A piece of a stream."""

    candidates: list[Candidate] | None = None
    usage_metadata: UsageBody | None = None
    prompt_feedback: PromptFeedback | None = None
    error: Any = None


class EmbeddingBody(Struct, gc=False):
    """An embedding."""

    values: list[float]


class EmbeddingsBody(Struct, gc=False):
    """The embeddings of all inputs, in their order."""

    embeddings: list[EmbeddingBody]


class CountBody(Struct, gc=False, rename="camel"):
    """A token count."""

    total_tokens: int
    cached_content_token_count: int | None = None
