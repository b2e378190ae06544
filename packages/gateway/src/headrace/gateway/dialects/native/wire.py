"""The bodies of the native API. Fields are only added, each with a default; a client ignores those it does not know."""

from typing import Literal

from msgspec import Struct

from headrace.gateway.answer import SaidPart, ToolCall
from headrace.schema.events import FinishReason, Stage
from headrace.schema.request import ChatCompletionRequest


class GenerationBody(ChatCompletionRequest, frozen=True, kw_only=True, omit_defaults=True):
    """A request as the schema has it, and how it is to be answered.

    Attributes:
        stream: True for server-sent events, False for one whole answer.
        privacy: `local_only` keeps the request from every outside provider.
    """

    stream: bool = False
    privacy: Literal["any", "local_only"] = "any"


class TokenUsage(Struct, frozen=True, kw_only=True):
    """Token counts of a generation, all sequences together."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int = 0


class TimingSeconds(Struct, frozen=True, kw_only=True):
    """Where the time of a generation went, in seconds."""

    queue_seconds: float
    first_token_seconds: float
    total_seconds: float


class Logprob(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A token with its log probability, and with the likeliest of its place where `output.top_logprobs` asked."""

    token_id: int
    text: str
    logprob: float
    bytes: tuple[int, ...] | None = None
    top: "tuple[Logprob, ...]" = ()


class SignatureBody(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a vendor signed something with; the fields of a part with the same names take it back.

    Attributes:
        signature: the signature.
        signed_by: the kind of provider that it is of.
        is_redacted: it is the thought itself, which only its vendor can read.
    """

    signature: str
    signed_by: str
    is_redacted: bool = False


class ToolCallPiece(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a tool call grew by; `id`, `name` and the signature are in its first piece only."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    signature: str | None = None
    signed_by: str | None = None


class ErrorDetail(Struct, frozen=True, kw_only=True):
    """What went wrong.

    Attributes:
        code: which failure, as docs/dialects/native.md lists them.
        message: one sentence for people.
        param: the path of the field, or the header, at fault.
        retryable: whether the same request may succeed when it is sent again.
    """

    code: str
    message: str
    param: str | None
    retryable: bool


class ErrorBody(Struct, frozen=True):
    """The body of every error answer."""

    error: ErrorDetail


class WholeSequence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One sampled answer. `parts` is there if `output.signatures` asked: what to send back as the assistant's words."""

    index: int
    text: str
    finish_reason: FinishReason
    stop_sequence: str | None = None
    token_ids: tuple[int, ...] | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[Logprob, ...] | None = None
    parts: tuple[SaidPart, ...] = ()


class EchoedPrompt(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A prompt as the engine saw it; the first token has no log probability."""

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[Logprob | None, ...] | None = None


class Embedding(Struct, frozen=True, kw_only=True):
    """The embedding of a prompt."""

    index: int
    vector: tuple[float, ...]


class GenerationAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A whole answer. Usage and timings are there if `output` asked for them."""

    id: str
    model: str
    sequences: tuple[WholeSequence, ...]
    usage: TokenUsage | None = None
    timings: TimingSeconds | None = None
    prompts: tuple[EchoedPrompt, ...] = ()
    embeddings: tuple[Embedding, ...] = ()


class KeptSequence(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A sequence as far as it is known; `finish_reason` is there when it has ended."""

    index: int
    text: str
    finish_reason: FinishReason | None = None
    stop_sequence: str | None = None
    token_ids: tuple[int, ...] | None = None
    reasoning: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[Logprob, ...] | None = None
    parts: tuple[SaidPart, ...] = ()


class RetainedGeneration(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A retained generation as it stands. `error` is there if it failed."""

    id: str
    model: str
    state: Literal["running", "finished", "failed"]
    sequences: tuple[KeptSequence, ...]
    usage: TokenUsage | None = None
    timings: TimingSeconds | None = None
    prompts: tuple[EchoedPrompt, ...] = ()
    embeddings: tuple[Embedding, ...] = ()
    error: ErrorDetail | None = None


class Cancellation(Struct, frozen=True):
    """The answer to a cancelled generation."""

    id: str
    cancelled: bool = True


class GenerationQueuedEvent(Struct, frozen=True, kw_only=True, tag_field="type", tag="generation_queued"):
    """The generation waits for a worker."""

    position: int
    eta_seconds: float | None


class GenerationStartedEvent(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="generation_started"
):
    """A worker runs it. `input_tokens` is there if `output.usage` was asked for."""

    input_tokens: int | None = None


class SequenceStartedEvent(Struct, frozen=True, kw_only=True, tag_field="type", tag="sequence_started"):
    """A sequence begins."""

    index: int


class SequenceDeltaEvent(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="sequence_delta"):
    """A sequence grew: by reasoning, then text, then tool calls. The rest is there if `output` asked for it.

    A signature ends the thought or the text before it: more of that is another one.
    """

    index: int
    text: str
    token_ids: tuple[int, ...] | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCallPiece, ...] = ()
    logprobs: tuple[Logprob, ...] | None = None
    thought_signature: SignatureBody | None = None
    text_signature: SignatureBody | None = None


class PromptEchoedEvent(EchoedPrompt, frozen=True, kw_only=True, tag_field="type", tag="prompt_echoed"):
    """A prompt as the engine saw it."""


class PromptEmbeddedEvent(Embedding, frozen=True, kw_only=True, tag_field="type", tag="prompt_embedded"):
    """The embedding of a prompt."""


class SequenceFinishedEvent(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="sequence_finished"
):
    """A sequence has ended."""

    index: int
    finish_reason: FinishReason
    stop_sequence: str | None = None


class GenerationFinishedEvent(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="generation_finished"
):
    """The generation ended well. Nothing follows."""

    usage: TokenUsage | None = None
    timings: TimingSeconds | None = None


class GenerationFailedEvent(
    Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type", tag="generation_failed"
):
    """The generation ended, and its answer is not whole. Nothing follows."""

    error: ErrorDetail
    stage: Stage
    usage: TokenUsage | None = None


StreamEvent = (
    GenerationQueuedEvent
    | GenerationStartedEvent
    | SequenceStartedEvent
    | SequenceDeltaEvent
    | SequenceFinishedEvent
    | PromptEchoedEvent
    | PromptEmbeddedEvent
    | GenerationFinishedEvent
    | GenerationFailedEvent
)


class ChunkFrame(Struct, frozen=True):
    """The data of one frame of a stream; its event name is `chunk`."""

    events: tuple[StreamEvent, ...]


EVENT_NAME: Literal["chunk"] = "chunk"
