"""The content blocks of messages as clients send them.

The names are Anthropic's. Nothing outside this folder knows them.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from headrace.gateway.dialects.signed_ids import MAX_SIGNED_ID_CHARACTERS
from headrace.schema.messages import SignatureText, ToolName

UNSUPPORTED_BLOCKS = frozenset(
    {
        "bash_code_execution_tool_result",
        "browser_state",
        "code_execution_tool_result",
        "compaction",
        "container_upload",
        "document",
        "mcp_tool_result",
        "mcp_tool_use",
        "search_result",
        "server_tool_use",
        "text_editor_code_execution_tool_result",
        "tool_reference",
        "tool_search_tool_result",
        "web_fetch_tool_result",
        "web_search_tool_result",
    }
)
"""Types of blocks that Anthropic has and we don't."""


class TextBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="text"):
    """A run of text. `citations` of an answer that is sent back are passed over."""

    text: Annotated[str, Meta(min_length=1)]
    cache_control: Any = None
    citations: tuple[Any, ...] | None = None


class Base64Source(Struct, frozen=True, kw_only=True, tag_field="type", tag="base64"):
    """An image in the body itself."""

    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: Annotated[str, Meta(min_length=1)]


class UrlSource(Struct, frozen=True, kw_only=True, tag_field="type", tag="url"):
    """An image somewhere else."""

    url: Annotated[str, Meta(min_length=1)]


class ImageBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="image"):
    """An image."""

    source: Base64Source | UrlSource
    cache_control: Any = None
    transformations: None = None


class ThinkingBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="thinking"):
    """What an assistant thought, as an answer had it."""

    thinking: str
    signature: SignatureText


class RedactedThinkingBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="redacted_thinking"):
    """A thought that only its vendor can read; no other is sent it."""

    data: SignatureText


class ToolUseBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_use"):
    """A call that an assistant made."""

    id: Annotated[str, Meta(min_length=1, max_length=MAX_SIGNED_ID_CHARACTERS)]
    name: ToolName
    input: dict[str, Any]
    cache_control: Any = None
    caller: Any = None
    toolset_name: None = None


class ToolResultBlock(Struct, frozen=True, kw_only=True, tag_field="type", tag="tool_result"):
    """What a tool answered."""

    tool_use_id: Annotated[str, Meta(min_length=1, max_length=MAX_SIGNED_ID_CHARACTERS)]
    content: str | tuple[TextBlock | ImageBlock, ...] | None = None
    is_error: bool | None = None
    cache_control: Any = None
    toolset_name: None = None


ContentBlock = TextBlock | ImageBlock | ThinkingBlock | RedactedThinkingBlock | ToolUseBlock | ToolResultBlock


class MessageParam(Struct, frozen=True, kw_only=True):
    """A message as clients send it."""

    role: Literal["user", "assistant", "system"]
    content: str | tuple[ContentBlock, ...]
