"""The wire as version 1 had it: copies of its Structs, which stay as they are, so that tests can play an old peer."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

Role = Literal["system", "user", "assistant"]
FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "error"]
Stage = Literal["submit", "queue", "prefill", "decode", "reply"]


class TextPart(Struct, frozen=True, tag_field="type", tag="text"):
    text: str


class Message(Struct, frozen=True, omit_defaults=True):
    role: Role
    content: str | tuple[TextPart, ...]
    name: Annotated[str, Meta(max_length=256)] | None = None


class GenerationParameters(Struct, frozen=True, kw_only=True, omit_defaults=True):
    temperature: Annotated[float, Meta(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Meta(gt=0.0, le=1.0)] | None = None
    top_k: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None
    min_p: Annotated[float, Meta(ge=0.0, le=1.0)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    n: Annotated[int, Meta(ge=1, le=128)] = 1
    stop: Annotated[tuple[Annotated[str, Meta(min_length=1)], ...], Meta(max_length=16)] = ()
    seed: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | None = None
    presence_penalty: Annotated[float, Meta(ge=-2.0, le=2.0)] | None = None
    frequency_penalty: Annotated[float, Meta(ge=-2.0, le=2.0)] | None = None
    repetition_penalty: Annotated[float, Meta(gt=0.0, le=10.0)] | None = None
    provider_extensions: dict[str, Any] = field(default_factory=dict[str, Any])


class OutputFlags(Struct, frozen=True, kw_only=True, omit_defaults=True):
    token_ids: bool = False
    usage: bool = False
    timings: bool = False


class ChatCompletionRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    model: Annotated[str, Meta(min_length=1, max_length=128)]
    messages: Annotated[tuple[Message, ...], Meta(min_length=1)]
    generation_parameters: GenerationParameters = GenerationParameters()
    output: OutputFlags = OutputFlags()


class GenerationTask(Struct, frozen=True, kw_only=True, omit_defaults=True):
    request_id: str
    reply_address: str
    submitted_at: float
    deadline: float
    request: ChatCompletionRequest
    priority: Annotated[int, Meta(ge=0, le=9)] = 5


class Usage(Struct, frozen=True, array_like=True, gc=False):
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0


class Timings(Struct, frozen=True, array_like=True, gc=False):
    queue_seconds: float
    first_token_seconds: float
    total_seconds: float


class GenerationQueued(Struct, frozen=True, array_like=True, tag=1, gc=False):
    position: int
    eta_seconds: float | None = None


class GenerationStarted(Struct, frozen=True, array_like=True, tag=2, gc=False):
    worker_id: str
    input_tokens: int = 0


class SequenceStarted(Struct, frozen=True, array_like=True, tag=3, gc=False):
    index: int = 0


class SequenceDelta(Struct, frozen=True, array_like=True, tag=4, gc=False):
    index: int
    text: str
    token_ids: tuple[int, ...] | None = None


class SequenceFinished(Struct, frozen=True, array_like=True, tag=5, gc=False):
    index: int
    finish_reason: FinishReason
    stop_sequence: str | None = None


class GenerationFinished(Struct, frozen=True, array_like=True, tag=6, gc=False):
    usage: Usage
    timings: Timings | None = None


class GenerationFailed(Struct, frozen=True, array_like=True, tag=7, gc=False):
    code: str
    message: str
    stage: Stage
    retryable: bool
    usage: Usage | None = None
    param: str | None = None


Event = (
    GenerationQueued
    | GenerationStarted
    | SequenceStarted
    | SequenceDelta
    | SequenceFinished
    | GenerationFinished
    | GenerationFailed
)


class StreamChunk(Struct, frozen=True, array_like=True, tag=1):
    request_id: str
    attempt: int
    offset: int
    events: tuple[Event, ...]


class AttemptQuery(Struct, frozen=True, array_like=True, tag=2):
    request_id: str
    worker_id: str


ReplyItem = StreamChunk | AttemptQuery
