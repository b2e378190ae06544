"""The body of a call for a response, and what becomes of each of its fields.

The names are OpenAI's. Nothing outside this folder knows them.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from headrace.gateway.dialects.openai.responses.items import InputItem
from headrace.schema.messages import ToolName
from headrace.schema.request import MAX_STOP_SEQUENCES, MAX_TOP_LOGPROBS, Penalty, TokenCount
from headrace.schema.tools import MAX_TOOLS

StopText = Annotated[str, Meta(min_length=1)]
ResponseId = Annotated[str, Meta(min_length=1, max_length=128)]
Metadata = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]], Meta(max_length=16)
]

IGNORED_FIELDS = frozenset({"max_tool_calls", "prompt_cache_options", "prompt_cache_retention"})
"""They change nothing in the answer, so whatever they say is fine."""

UNSUPPORTED_FIELDS: dict[str, tuple[Any, ...]] = {
    "access_programs": (),
    "background_options": (),
    "context_management": ([],),
    "conversation": (),
    "image": (),
    "moderation": (),
    "prompt": (),
}
"""Fields that OpenAI has and we don't, with the values, beside null, that ask for nothing that we lack."""

LOGPROBS = "message.output_text.logprobs"
INCLUDES: dict[str, bool] = {
    LOGPROBS: True,
    "message.input_image.image_url": True,
    "reasoning.encrypted_content": True,
    "code_interpreter_call.outputs": False,
    "computer_call_output.output.image_url": False,
    "file_search_call.results": False,
    "web_search_call.action.sources": False,
    "web_search_call.results": False,
}
"""What `include` may name, with whether we take it: the others belong to tools that we don't host."""


class FunctionTool(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="function"):
    """A tool that the client runs. `output_schema` is ignored."""

    name: ToolName
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None
    allowed_callers: tuple[Literal["direct"], ...] | None = None
    is_async: Literal[False] | None = field(default=None, name="async")
    defer_loading: Literal[False] | None = None
    output_schema: dict[str, Any] | None = None


class NamedFunction(Struct, frozen=True, tag_field="type", tag="function"):
    """The one tool that must be called."""

    name: ToolName


class AllowedTools(Struct, frozen=True, kw_only=True, tag_field="type", tag="allowed_tools"):
    """Some of the tools, and whether one of them must be called."""

    mode: Literal["auto", "required"]
    tools: Annotated[tuple[NamedFunction, ...], Meta(min_length=1, max_length=MAX_TOOLS)]


ToolChoice = Literal["none", "auto", "required"] | NamedFunction | AllowedTools


class PlainText(Struct, frozen=True, tag_field="type", tag="text"):
    """Any text."""


class JsonObject(Struct, frozen=True, tag_field="type", tag="json_object"):
    """Any JSON object."""


class JsonSchema(Struct, frozen=True, kw_only=True, tag_field="type", tag="json_schema"):
    """JSON that a schema accepts, with `strict` or without."""

    # Python's `$` lets a line break follow, and JSON Schema has no other word for the end.
    name: Annotated[str, Meta(pattern=r"^[a-zA-Z0-9_-]{1,64}$(?!\n)")]
    schema: dict[str, Any]
    description: str | None = None
    strict: bool | None = None


class TextConfig(Struct, frozen=True, kw_only=True):
    """What form the text must have; `verbosity` is ignored."""

    format: PlainText | JsonObject | JsonSchema | None = None
    verbosity: Literal["low", "medium", "high"] | None = None


class ReasoningConfig(Struct, frozen=True, kw_only=True):
    """How much to think: `effort` reaches the model's chat template, and `none` leaves reasoning out of the answer.

    The rest is ignored: a thought is shown as it is, without a summary.
    """

    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    summary: Literal["auto", "concise", "detailed"] | None = None
    generate_summary: Literal["auto", "concise", "detailed"] | None = None
    context: Literal["auto", "current_turn", "all_turns"] | None = None
    mode: Literal["standard"] | None = None


class StreamOptions(Struct, frozen=True, kw_only=True):
    """What a stream carries; `include_obfuscation` is ignored."""

    include_obfuscation: bool | None = None


class ResponseBody(Struct, frozen=True, kw_only=True):
    """The body of a call for a response: the fields that we support.

    `chat_template_kwargs`, `ignore_eos`, `min_p`, `repetition_penalty`, `seed`, `stop`, `top_k` and the penalties are
    vLLM's, and mean what they mean there.
    """

    model: Annotated[str, Meta(min_length=1)]
    input: str | tuple[InputItem, ...] = ()
    background: bool | None = None
    include: tuple[str, ...] | None = None
    instructions: str | None = None
    max_output_tokens: TokenCount | None = None
    metadata: Metadata | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: ResponseId | None = None
    prompt_cache_key: str | None = None
    reasoning: ReasoningConfig | None = None
    safety_identifier: str | None = None
    service_tier: str | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    text: TextConfig | None = None
    tool_choice: ToolChoice | None = None
    tools: Annotated[tuple[FunctionTool, ...], Meta(max_length=MAX_TOOLS)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    truncation: Literal["auto", "disabled"] | None = None
    user: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    frequency_penalty: Penalty | None = None
    ignore_eos: bool | None = None
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    presence_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    stop: StopText | Annotated[tuple[StopText, ...], Meta(max_length=MAX_STOP_SEQUENCES)] | None = None
    top_k: Annotated[int, Meta(ge=-1, le=2**31 - 1)] | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the answer can be asked for again; OpenAI keeps what is not said to be forgotten."""
        return self.store is not False
