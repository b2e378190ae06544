"""The answers to a completion. A frame of a stream has the shape of a whole answer, as OpenAI's has."""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from headrace.gateway.dialects.openai.chat.answers import PromptLogprob
from headrace.gateway.dialects.openai.wire import CompletionUsage

FinishReason = Literal["stop", "length", "content_filter"]


class CompletionLogprobs(Struct, frozen=True, kw_only=True):
    """The tokens of a choice, or of what it grew by, in four lists of one length.

    Attributes:
        tokens: each as text; the bytes of one that is a part of a character are spelled out.
        token_logprobs: the log probability of each; null for the first token of a prompt.
        top_logprobs: the likeliest of each place and the token itself; null for the first token of a prompt.
        text_offset: the character of the choice's text at which each begins.
    """

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class CompletionChoice(Struct, frozen=True, kw_only=True):
    """One answer, or what it grew by; only the last frame of a choice has its finish reason.

    The fields behind `finish_reason` are vLLM's. They are left out unless they were asked for.
    """

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: FinishReason | None
    token_ids: tuple[int, ...] | UnsetType = UNSET
    prompt_token_ids: tuple[int, ...] | UnsetType = UNSET
    prompt_logprobs: tuple[dict[str, PromptLogprob] | None, ...] | UnsetType = UNSET


class Completion(Struct, frozen=True, kw_only=True):
    """A whole answer, or a frame; `usage` is null in all frames but the last if it was asked for, and else left out."""

    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: tuple[CompletionChoice, ...]
    usage: CompletionUsage | UnsetType | None = UNSET
