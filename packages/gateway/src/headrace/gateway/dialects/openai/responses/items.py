"""Items: what a conversation is made of in the Responses API, on its way in and on its way out.

The names are OpenAI's. A client sends back what it was given, so the same Structs read and write; fields that OpenAI's
items have and ours never fill may be null.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from headrace.gateway.dialects.signed_ids import MAX_SIGNED_ID_CHARACTERS
from headrace.schema.messages import MAX_SIGNATURE_CHARACTERS, ToolName

# With the name of the vendor before it.
SealedText = Annotated[str, Meta(max_length=MAX_SIGNATURE_CHARACTERS + 128)]
ItemStatus = Literal["in_progress", "completed", "incomplete"]
Role = Literal["user", "assistant", "system", "developer"]
# The signature of a call travels in its id.
CallId = Annotated[str, Meta(min_length=1, max_length=MAX_SIGNED_ID_CHARACTERS)]


class InputText(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="input_text"):
    """Text that the model is given; a cache breakpoint in it is ignored."""

    text: str
    prompt_cache_breakpoint: dict[str, Any] | None = None


class InputImage(Struct, frozen=True, kw_only=True, tag_field="type", tag="input_image"):
    """An image that the model is given, by URL; a cache breakpoint in it is ignored."""

    detail: Literal["auto", "low", "high"] | None = "auto"
    image_url: Annotated[str, Meta(min_length=1)]
    file_id: None = None
    prompt_cache_breakpoint: dict[str, Any] | None = None


class TopLogprob(Struct, frozen=True, kw_only=True):
    """A likely token of a place."""

    token: str
    bytes: tuple[int, ...]
    logprob: float


class Logprob(Struct, frozen=True, kw_only=True):
    """A token of a text with its log probability."""

    token: str
    bytes: tuple[int, ...]
    logprob: float
    top_logprobs: tuple[TopLogprob, ...] = ()


class OutputText(Struct, frozen=True, kw_only=True, tag_field="type", tag="output_text"):
    """Text that the model wrote."""

    annotations: tuple[dict[str, Any], ...] | None = ()
    logprobs: tuple[Logprob, ...] | None = ()
    text: str


class Refusal(Struct, frozen=True, tag_field="type", tag="refusal"):
    """What a model said in place of an answer; we write none, and read those of others as text."""

    refusal: str


class ReasoningText(Struct, frozen=True, tag_field="type", tag="reasoning_text"):
    """What the model thought."""

    text: str


class SummaryText(Struct, frozen=True, tag_field="type", tag="summary_text"):
    """A summary of what a model thought; we write none."""

    text: str


ContentPart = InputText | InputImage | OutputText | Refusal


class MessageItem(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="message"):
    """Something that was said."""

    id: str | None = None
    status: ItemStatus | None = None
    role: Role
    content: str | tuple[ContentPart, ...]
    phase: Literal["commentary", "final_answer"] | None = None


class FunctionCallItem(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="function_call"):
    """A tool call that the model made."""

    id: str | None = None
    status: ItemStatus | None = None
    call_id: CallId
    name: ToolName
    arguments: str
    caller: dict[str, Any] | None = None
    created_by: str | None = None
    is_async: Literal[False] | None = field(default=None, name="async")
    namespace: None = None


class FunctionCallOutputItem(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="function_call_output"
):
    """What a tool answered."""

    id: str | None = None
    status: ItemStatus | None = None
    call_id: CallId
    output: str | tuple[InputText | InputImage, ...]
    caller: dict[str, Any] | None = None
    created_by: str | None = None
    name: str | None = None
    namespace: None = None


class ReasoningItem(Struct, frozen=True, kw_only=True, tag_field="type", tag="reasoning"):
    """What the model thought before it went on.

    `encrypted_content` is what its vendor signed it with, or the thought itself where only that can read it.
    """

    id: str | None = None
    summary: tuple[SummaryText, ...] = ()
    content: tuple[ReasoningText, ...] | None = None
    encrypted_content: SealedText | None = None
    status: ItemStatus | None = None


class ItemReference(Struct, frozen=True, tag_field="type", tag="item_reference"):
    """An item of a response that is kept, by its id."""

    id: str


OutputItem = ReasoningItem | MessageItem | FunctionCallItem
ConversationItem = MessageItem | FunctionCallItem | FunctionCallOutputItem | ReasoningItem
InputItem = ConversationItem | ItemReference
