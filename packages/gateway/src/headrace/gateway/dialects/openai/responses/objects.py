"""Responses and the lists and events that carry them, as they are sent.

The names are OpenAI's. Nothing outside this folder knows them.
"""

from typing import Literal

from msgspec import Struct

from headrace.gateway.dialects.openai.responses.items import ConversationItem, OutputItem
from headrace.gateway.dialects.openai.responses.wire import (
    FunctionTool,
    JsonObject,
    JsonSchema,
    PlainText,
    ToolChoice,
)

Status = Literal["queued", "in_progress", "completed", "incomplete", "failed", "cancelled"]
RESPONSE_OBJECT = "response"


class ResponseError(Struct, frozen=True, kw_only=True):
    """Why a response failed; OpenAI has few codes for this, and its clients know no others."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class IncompleteDetails(Struct, frozen=True, kw_only=True):
    """Why a response was cut off."""

    reason: Literal["max_output_tokens", "content_filter"]


class InputTokensDetails(Struct, frozen=True, kw_only=True):
    """What the prompt's tokens were."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputTokensDetails(Struct, frozen=True, kw_only=True):
    """What the answer's tokens were."""

    reasoning_tokens: int


class ResponseUsage(Struct, frozen=True, kw_only=True):
    """Token counts."""

    input_tokens: int
    input_tokens_details: InputTokensDetails
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    total_tokens: int


class ReasoningShown(Struct, frozen=True, kw_only=True):
    """How the client asked to think."""

    effort: str | None = None
    summary: str | None = None


class TextShown(Struct, frozen=True, kw_only=True):
    """What form the text has."""

    format: PlainText | JsonObject | JsonSchema = PlainText()
    verbosity: str = "medium"


class ResponseObject(Struct, frozen=True, kw_only=True):
    """A response: what was asked for, what came of it, and how far it is."""

    id: str
    object: Literal["response"] = RESPONSE_OBJECT
    created_at: int
    status: Status
    background: bool = False
    completed_at: int | None = None
    error: ResponseError | None = None
    frequency_penalty: float = 0.0
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    max_tool_calls: int | None = None
    metadata: dict[str, str] = {}
    model: str
    output: tuple[OutputItem, ...] = ()
    parallel_tool_calls: bool = True
    presence_penalty: float = 0.0
    previous_response_id: str | None = None
    prompt_cache_key: str | None = None
    reasoning: ReasoningShown = ReasoningShown()
    safety_identifier: str | None = None
    service_tier: str = "default"
    store: bool = True
    temperature: float | None = None
    text: TextShown = TextShown()
    tool_choice: ToolChoice = "auto"
    tools: tuple[FunctionTool, ...] = ()
    top_logprobs: int = 0
    top_p: float | None = None
    truncation: str = "disabled"
    usage: ResponseUsage | None = None
    user: str | None = None


class DeletedResponse(Struct, frozen=True, kw_only=True):
    """The answer to a deletion."""

    id: str
    object: Literal["response"] = RESPONSE_OBJECT
    deleted: bool = True


class ItemList(Struct, frozen=True, kw_only=True):
    """A page of the items that a response answers to."""

    object: Literal["list"] = "list"
    data: tuple[ConversationItem, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
