"""The bodies and frames that Anthropic's clients get.

The names are Anthropic's. Nothing outside this folder knows them. What is always null is a feature that we lack; the
field is there, because clients have a place for it.
"""

from typing import Any, Literal

from msgspec import Struct, field

StopReason = Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"]


class OutputTokensDetails(Struct, frozen=True):
    """What the answer's tokens were."""

    thinking_tokens: int


class CacheCreation(Struct, frozen=True):
    """Tokens that were written to a cache on the client's word, which is ignored here."""

    ephemeral_1h_input_tokens: int = 0
    ephemeral_5m_input_tokens: int = 0


class DeltaUsage(Struct, frozen=True, kw_only=True):
    """Token counts at the end of a stream; those of the prompt are `input_tokens` and what the cache had."""

    input_tokens: int
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int
    output_tokens: int
    output_tokens_details: OutputTokensDetails
    server_tool_use: None = None


class MessageUsage(DeltaUsage, frozen=True, kw_only=True):
    """Token counts of a message."""

    cache_creation: CacheCreation = CacheCreation()
    inference_geo: None = None
    service_tier: Literal["standard"] = "standard"
    speed: None = None


class TextContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """What the model said."""

    text: str = ""


class ThinkingContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """What it thought before."""

    thinking: str = ""
    signature: str = ""


class RedactedThinkingContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="redacted_thinking"):
    """What it thought before, in a form that only its vendor can read."""

    data: str


class DirectCaller(Struct, frozen=True, tag_field="type", tag="direct"):
    """The model made the call itself."""


class ToolUseContent(Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    """A call of a tool."""

    id: str
    name: str
    input: dict[str, Any] = field(default_factory=dict[str, Any])
    caller: DirectCaller = DirectCaller()


Content = TextContent | ThinkingContent | RedactedThinkingContent | ToolUseContent


class RefusalStopDetails(Struct, frozen=True, kw_only=True, tag_field="type", tag="refusal"):
    """More about an answer that was stopped for what it said."""

    category: None = None
    explanation: None = None


class MessageAnswer(Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """A whole answer."""

    id: str
    role: Literal["assistant"] = "assistant"
    model: str
    content: tuple[Content, ...]
    stop_reason: StopReason | None
    stop_sequence: str | None
    stop_details: RefusalStopDetails | None = None
    container: None = None
    diagnostics: None = None
    usage: MessageUsage


class MessageStart(Struct, frozen=True, kw_only=True, tag_field="type", tag="message_start"):
    """A stream begins: the message without content."""

    message: MessageAnswer


class ContentBlockStart(Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_start"):
    """A block begins, empty."""

    index: int
    content_block: Content


class TextDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="text_delta"):
    """Text grew."""

    text: str


class ThinkingDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="thinking_delta"):
    """A thought grew."""

    thinking: str


class SignatureDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="signature_delta"):
    """The end of a thought."""

    signature: str


class InputJsonDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="input_json_delta"):
    """The input of a call grew."""

    partial_json: str


class ContentBlockDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_delta"):
    """A block grew."""

    index: int
    delta: TextDelta | ThinkingDelta | SignatureDelta | InputJsonDelta


class ContentBlockStop(Struct, frozen=True, kw_only=True, tag_field="type", tag="content_block_stop"):
    """A block is whole."""

    index: int


class StopDelta(Struct, frozen=True, kw_only=True):
    """Why the message ended."""

    stop_reason: StopReason
    stop_sequence: str | None
    stop_details: RefusalStopDetails | None = None
    container: None = None


class MessageDelta(Struct, frozen=True, kw_only=True, tag_field="type", tag="message_delta"):
    """The message has ended; the counts are of all of it."""

    delta: StopDelta
    usage: DeltaUsage


class MessageStop(Struct, frozen=True, kw_only=True, tag_field="type", tag="message_stop"):
    """Nothing follows."""


class Ping(Struct, frozen=True, kw_only=True, tag_field="type", tag="ping"):
    """Nothing happened."""


class TokensCount(Struct, frozen=True):
    """A token count."""

    input_tokens: int


class AnthropicErrorDetail(Struct, frozen=True, kw_only=True):
    """What went wrong."""

    type: str
    message: str


class AnthropicErrorBody(Struct, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """The body of an error answer, and the data of the frame that ends a failed stream."""

    error: AnthropicErrorDetail
    request_id: str | None = None


class ModelInfo(Struct, frozen=True, kw_only=True, tag_field="type", tag="model"):
    """A served model."""

    id: str
    display_name: str
    created_at: str
    lifecycle: Literal["active"] = "active"
    max_input_tokens: int | None
    max_tokens: None = None
    capabilities: None = None
    deprecated_at: None = None
    line: None = None
    retires_at: None = None


class ModelPage(Struct, frozen=True, kw_only=True):
    """A page of the served models."""

    data: tuple[ModelInfo, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool


FRAMES: tuple[type[Struct], ...] = (
    MessageStart,
    ContentBlockStart,
    Ping,
    ContentBlockDelta,
    ContentBlockStop,
    MessageDelta,
    MessageStop,
    AnthropicErrorBody,
)
"""What a stream is made of."""
