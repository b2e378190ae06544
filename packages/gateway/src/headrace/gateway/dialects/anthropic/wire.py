"""The bodies of Anthropic's requests, and what becomes of each of their fields.

The names are Anthropic's. Nothing outside this folder knows them.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.gateway.dialects.anthropic.content import MessageParam, TextBlock
from headrace.schema.request import MAX_STOP_SEQUENCES, TokenCount
from headrace.schema.tools import MAX_TOOLS

MIN_THINKING_TOKENS = 1024

IGNORED_FIELDS = frozenset({"cache_control", "context_management", "metadata", "service_tier"})
"""They change nothing in the answer, so whatever they say is fine."""

UNSUPPORTED_FIELDS: dict[str, tuple[Any, ...]] = {
    "compaction": (),
    "container": (),
    "diagnostics": (),
    "fallback_credit_token": (),
    "fallbacks": ([],),
    "inference_geo": (),
    "mcp_servers": ([],),
    "speed": ("standard",),
}
"""Fields that Anthropic has and we don't, with the values, beside null, that ask for nothing that we lack."""

ClientToolName = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[a-zA-Z0-9_-]+$")]
StopText = Annotated[str, Meta(min_length=1)]


class ToolParam(Struct, frozen=True, kw_only=True):
    """A tool of the client's own."""

    name: ClientToolName
    input_schema: dict[str, Any]
    type: Literal["custom"] | None = None
    description: str | None = None
    strict: bool | None = None
    allowed_callers: tuple[Literal["direct"], ...] | None = None
    defer_loading: Literal[False] | None = None
    cache_control: Any = None
    eager_input_streaming: bool | None = None
    input_examples: tuple[dict[str, Any], ...] | None = None


class AutoToolChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="auto"):
    """The model decides."""

    disable_parallel_tool_use: bool | None = None


class AnyToolChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="any"):
    """It must call some tool."""

    disable_parallel_tool_use: bool | None = None


class NamedToolChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="tool"):
    """It must call this tool."""

    name: str
    disable_parallel_tool_use: bool | None = None


class NoToolChoice(Struct, frozen=True, kw_only=True, tag_field="type", tag="none"):
    """It must call none."""


ToolChoiceParam = AutoToolChoice | AnyToolChoice | NamedToolChoice | NoToolChoice

Display = Literal["summarized", "omitted"]


class ThinkingEnabled(Struct, frozen=True, kw_only=True, tag_field="type", tag="enabled"):
    """Show what the model thinks; the budget is checked, and the model is not held to it."""

    budget_tokens: Annotated[int, Meta(ge=MIN_THINKING_TOKENS)]
    display: Display | None = None


class ThinkingAdaptive(Struct, frozen=True, kw_only=True, tag_field="type", tag="adaptive"):
    """Show what the model thinks, if it does."""

    display: Display | None = None


class ThinkingDisabled(Struct, frozen=True, kw_only=True, tag_field="type", tag="disabled"):
    """Show no thoughts."""


ThinkingParam = ThinkingEnabled | ThinkingAdaptive | ThinkingDisabled


class JsonOutputFormat(Struct, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    """The answer's text must be JSON that this schema accepts."""

    schema: dict[str, Any]


class OutputConfig(Struct, frozen=True, kw_only=True):
    """What form the answer has; `effort` is ignored."""

    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    format: JsonOutputFormat | None = None


class CountTokensBody(Struct, frozen=True, kw_only=True):
    """The body of a token count: the fields that we support."""

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[tuple[MessageParam, ...], Meta(min_length=1)]
    system: str | tuple[TextBlock, ...] | None = None
    tools: Annotated[tuple[ToolParam, ...], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceParam | None = None
    thinking: ThinkingParam | None = None
    output_config: OutputConfig | None = None
    output_format: JsonOutputFormat | None = None


class MessagesBody(CountTokensBody, frozen=True, kw_only=True):
    """The body of a message call: the fields that we support."""

    max_tokens: TokenCount
    stop_sequences: Annotated[tuple[StopText, ...], Meta(max_length=MAX_STOP_SEQUENCES)] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
