"""What the bodies of OpenAI's APIs have in common: token counts, models and errors.

The names are OpenAI's. Nothing outside this folder knows them.
"""

from typing import Literal

from msgspec import Struct


class PromptTokensDetails(Struct, frozen=True):
    """What the prompt's tokens were."""

    cached_tokens: int


class CompletionTokensDetails(Struct, frozen=True):
    """What the answer's tokens were."""

    reasoning_tokens: int = 0


class CompletionUsage(Struct, frozen=True, kw_only=True):
    """Token counts, all choices together."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails
    completion_tokens_details: CompletionTokensDetails


class Model(Struct, frozen=True, kw_only=True):
    """A served model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(Struct, frozen=True, kw_only=True):
    """All served models."""

    object: Literal["list"] = "list"
    data: tuple[Model, ...]


class OpenAIErrorDetail(Struct, frozen=True, kw_only=True):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(Struct, frozen=True):
    """The body of an error answer, and the data of the frame that ends a failed stream."""

    error: OpenAIErrorDetail
