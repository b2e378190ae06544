"""The answers to a chat completion, whole and as the frames of a stream.

What was not asked for is left out, as OpenAI leaves it out: a client never meets a field that it does not know.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from headrace.gateway.dialects.openai.chat.signatures import ExtraContent, ThoughtBlock
from headrace.gateway.dialects.openai.wire import CompletionUsage

FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class TopLogprob(Struct, frozen=True, kw_only=True):
    """A token that could have come."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None


class ContentLogprob(Struct, frozen=True, kw_only=True):
    """A token that came, and what could have come in its place, the likeliest first."""

    token: str
    logprob: float
    bytes: tuple[int, ...] | None
    top_logprobs: tuple[TopLogprob, ...]


class ChoiceLogprobs(Struct, frozen=True, kw_only=True):
    """The log probabilities of a choice, or of what it grew by."""

    content: tuple[ContentLogprob, ...]
    refusal: None = None


class AnsweredFunction(Struct, frozen=True, kw_only=True):
    """Which function is called, and with what: JSON as the model wrote it."""

    name: str
    arguments: str


class AnsweredToolCall(Struct, frozen=True, kw_only=True):
    """A call of a tool."""

    id: str
    type: Literal["function"] = "function"
    function: AnsweredFunction
    extra_content: ExtraContent | UnsetType = UNSET


class AnswerMessage(Struct, frozen=True, kw_only=True):
    """The message of a choice.

    What the model thought has two names, since clients know one or the other. Where a vendor signed it, it is there
    once more, with the signature.
    """

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    reasoning_content: str | UnsetType | None = UNSET
    reasoning: str | UnsetType | None = UNSET
    thinking_blocks: tuple[ThoughtBlock, ...] | UnsetType = UNSET
    extra_content: ExtraContent | UnsetType = UNSET
    tool_calls: tuple[AnsweredToolCall, ...] | UnsetType = UNSET


class Choice(Struct, frozen=True, kw_only=True):
    """One answer."""

    index: int
    message: AnswerMessage
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason
    token_ids: tuple[int, ...] | UnsetType = UNSET


class PromptLogprob(Struct, frozen=True, kw_only=True):
    """A token that could stand at a place of the prompt; the rank counts from 1, where it is known."""

    logprob: float
    rank: int | None
    decoded_token: str


class ChatCompletion(Struct, frozen=True, kw_only=True):
    """A whole answer. The last two fields are vLLM's, and the keys of `prompt_logprobs` are token ids."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: tuple[Choice, ...]
    usage: CompletionUsage
    system_fingerprint: str | None = None
    prompt_logprobs: tuple[dict[str, PromptLogprob] | None, ...] | UnsetType = UNSET
    prompt_token_ids: tuple[int, ...] | UnsetType = UNSET


class FunctionDelta(Struct, frozen=True, kw_only=True):
    """What a call grew by: in its first frame its name and no arguments, then arguments only."""

    name: str | UnsetType = UNSET
    arguments: str


class CallDelta(Struct, frozen=True, kw_only=True):
    """A call in a frame; its id, its type and its signature are in its first frame only."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionDelta
    extra_content: ExtraContent | UnsetType = UNSET


class Delta(Struct, frozen=True, kw_only=True):
    """What a choice grew by."""

    role: Literal["assistant"] | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    thinking_blocks: tuple[ThoughtBlock, ...] | UnsetType = UNSET
    extra_content: ExtraContent | UnsetType = UNSET
    tool_calls: tuple[CallDelta, ...] | UnsetType = UNSET


class ChunkChoice(Struct, frozen=True, kw_only=True):
    """A choice in a frame of a stream."""

    index: int
    delta: Delta
    logprobs: ChoiceLogprobs | None = None
    finish_reason: FinishReason | None = None
    token_ids: tuple[int, ...] | UnsetType = UNSET


class ChatCompletionChunk(Struct, frozen=True, kw_only=True):
    """A frame of a stream. `usage` is there only if `stream_options.include_usage` is true."""

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int
    model: str
    system_fingerprint: str | None = None
    choices: tuple[ChunkChoice, ...]
    usage: CompletionUsage | UnsetType | None = UNSET
    prompt_token_ids: tuple[int, ...] | UnsetType = UNSET
