"""The events of a stream, and the chunk that carries them.

A stream is a list of events, and nothing in it is signalled by absence: a generation starts, each of its sequences
starts, grows and finishes, and the generation ends with exactly one of `GenerationFinished` and `GenerationFailed`.
A whole answer is folded from the same events as a streamed one.

These Structs are arrays on the wire (the first item is the tag), because one of them is made for every step of every
sequence. Evolution: tags are never used again, fields are only appended, and a new field has a default.
"""

from typing import Literal

from msgspec import Struct

from headrace.schema.payload import PayloadRef

FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "cancelled", "error"]
Stage = Literal["submit", "queue", "prefill", "decode", "reply"]


class Usage(Struct, frozen=True, array_like=True, gc=False):
    """Token counts of a generation, all sequences together.

    Attributes:
        input_tokens: tokens of the prompt, counted once however many sequences there are.
        output_tokens: tokens that were sampled.
        cached_tokens: how many of the input tokens came from the engine's prefix cache.
        reasoning_tokens: how many of the output tokens were reasoning.
    """

    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    reasoning_tokens: int = 0


class Timings(Struct, frozen=True, array_like=True, gc=False):
    """Where the time of a generation went, in seconds.

    Attributes:
        queue_seconds: from the scheduler's submit to when a worker had picked it up and had a place for it.
        first_token_seconds: from then to the first token.
        total_seconds: from then to the last token, pauses included.
    """

    queue_seconds: float
    first_token_seconds: float
    total_seconds: float


class TokenLogprob(Struct, frozen=True, array_like=True, gc=False):
    """A token with its log probability.

    Attributes:
        token_id: its id.
        text: it as text; where it is a part of a character, what a decoder makes of that part alone.
        logprob: natural logarithm of its probability, at most 0; -9999.0 stands for none at all.
        raw: its bytes, where they are known.
        top: the likeliest tokens of its place, the likeliest first.
    """

    token_id: int
    text: str
    logprob: float
    raw: bytes | None = None
    top: "tuple[TokenLogprob, ...]" = ()


class Signature(Struct, frozen=True, array_like=True, gc=False):
    """What a vendor signs something with that its model said, and wants back unchanged when the conversation goes on.

    Attributes:
        value: the signature; nobody but its vendor can read it, and it is never logged.
        signed_by: the kind of provider that can, like `anthropic`: it is sent to no other.
        is_redacted: of a thought: it is the thought itself, encrypted, and there is no text beside it.
    """

    value: str
    signed_by: str
    is_redacted: bool = False


class ToolCallDelta(Struct, frozen=True, array_like=True, gc=False):
    """What a tool call grew by.

    Attributes:
        index: which call of its sequence, counted from 0. A call begins after the one before it is whole.
        arguments: the next piece of its arguments, which are JSON as the model writes it.
        id: in the first delta of a call only: what its result will refer to.
        name: in the first delta of a call only: the tool.
        signature: in the first delta of a call only: what it is signed with, where `output.signatures` asked for it.
    """

    index: int
    arguments: str = ""
    id: str | None = None
    name: str | None = None
    signature: Signature | None = None


class GenerationQueued(Struct, frozen=True, array_like=True, tag=1, gc=False):
    """The generation waits for a worker.

    Attributes:
        position: how many requests are ahead of it.
        eta_seconds: expected wait, None while it is not known.
    """

    position: int
    eta_seconds: float | None = None


class GenerationStarted(Struct, frozen=True, array_like=True, tag=2, gc=False):
    """A worker took the generation and its engine accepted the prompt.

    Attributes:
        worker_id: the replica that runs it; control messages are addressed to it.
        input_tokens: tokens of the prompt.
    """

    worker_id: str
    input_tokens: int = 0


class SequenceStarted(Struct, frozen=True, array_like=True, tag=3, gc=False):
    """Sequence `index` of the generation begins."""

    index: int = 0


class SequenceDelta(Struct, frozen=True, array_like=True, tag=4, gc=False):
    """What sequence `index` grew by.

    Attributes:
        index: the sequence.
        text: whole characters only; a token that ends inside a character waits for the next.
        token_ids: the ids of the new tokens, where `output.token_ids` asked for them.
        logprobs: of the new tokens, where `output.logprobs` asked for them.
        reasoning: what it thought before it said `text`, where `output.reasoning` asked for it.
        tool_calls: what its tool calls grew by, after `text`.
        thought_signature: what the thought that `reasoning` ends is signed with, where `output.signatures` asked for
            it. More reasoning after it is another thought.
        text_signature: what the text is signed with that `text` ends, where `output.signatures` asked for it. More text
            after it is another text.
    """

    index: int
    text: str
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCallDelta, ...] = ()
    thought_signature: Signature | None = None
    text_signature: Signature | None = None


class SequenceFinished(Struct, frozen=True, array_like=True, tag=5, gc=False):
    """Sequence `index` has ended.

    Attributes:
        index: the sequence.
        finish_reason: why it ended.
        stop_sequence: the text of `stop` that ended it, if one did.
    """

    index: int
    finish_reason: FinishReason
    stop_sequence: str | None = None


class GenerationFinished(Struct, frozen=True, array_like=True, tag=6, gc=False):
    """The generation ended well: every sequence has finished."""

    usage: Usage
    timings: Timings | None = None


class GenerationFailed(Struct, frozen=True, array_like=True, tag=7, gc=False):
    """The generation ended, and its answer is not whole.

    Attributes:
        code: a value of `ErrorCode`.
        message: one sentence for the client.
        stage: how far it had come.
        retryable: whether the same request may succeed when it is sent again.
        usage: what was used up to here, where it is known.
        param: the field at fault, where there is one.
    """

    code: str
    message: str
    stage: Stage
    retryable: bool
    usage: Usage | None = None
    param: str | None = None


class PromptEchoed(Struct, frozen=True, array_like=True, tag=8, gc=False):
    """A prompt as the engine saw it, where `output.prompt` asked for it; before any sequence of that prompt starts.

    Attributes:
        index: which prompt.
        text: its text.
        token_ids: its tokens.
        logprobs: of its tokens, where `output.prompt_logprobs` asked for them. The first token, which follows nothing,
            has None.
    """

    index: int
    text: str
    token_ids: tuple[int, ...]
    logprobs: tuple[TokenLogprob | None, ...] | None = None


class PromptEmbedded(Struct, frozen=True, array_like=True, tag=9, gc=False):
    """The embedding of a prompt.

    Attributes:
        index: which prompt.
        vector: little-endian 32-bit floats.
    """

    index: int
    vector: bytes


Event = (
    GenerationQueued
    | GenerationStarted
    | SequenceStarted
    | SequenceDelta
    | SequenceFinished
    | GenerationFinished
    | GenerationFailed
    | PromptEchoed
    | PromptEmbedded
)


class StreamChunk(Struct, frozen=True, array_like=True, tag=1):
    """The unit that travels from a worker to the scheduler.

    Attributes:
        request_id: the request that it belongs to.
        attempt: which try at the generation this is, counted from 1; a chunk of an older attempt is dropped.
        offset: how many events of the stream come before this chunk, so that a chunk that arrives twice is
            dropped and one that is missing is noticed.
        events: in order; they may belong to several sequences.
        retells: the events tell the attempt from its start, merged, because some of what was sent may not have arrived;
            `offset` is then how many events of the stream come before what follows this chunk.
    """

    request_id: str
    attempt: int
    offset: int
    events: tuple[Event, ...]
    retells: bool = False


class AttemptQuery(Struct, frozen=True, array_like=True, tag=2):
    """A worker asks the scheduler whether, and as which attempt, to run a task that may run elsewhere.

    Attributes:
        request_id: the request.
        worker_id: where the answer goes.
        copy: which copy of the task it was handed.
    """

    request_id: str
    worker_id: str
    copy: int = 0


class AttemptRunning(Struct, frozen=True, array_like=True, tag=3):
    """A worker says that it runs an attempt: it has just picked the task up, or it was asked. Or that it does no more.

    Attributes:
        request_id: the request.
        attempt: which try at it; 0 where it waits to be told.
        worker_id: who runs it.
        is_returned: it has given the task back to its queue, because it is about to end.
    """

    request_id: str
    attempt: int
    worker_id: str
    is_returned: bool = False


class StoredChunk(Struct, frozen=True, array_like=True, tag=4):
    """A chunk that is too large for the broker: it lies in the object store, as the batch that it would have been in.

    Attributes:
        request_id: the request.
        attempt: which try at it.
        payload: where it lies: a batch with that one chunk.
    """

    request_id: str
    attempt: int
    payload: PayloadRef


ReplyItem = StreamChunk | AttemptQuery | AttemptRunning | StoredChunk


def says_anything(delta: SequenceDelta) -> bool:
    """Tell whether a delta has anything in it."""
    return bool(
        delta.text
        or delta.token_ids
        or delta.logprobs
        or delta.reasoning
        or delta.tool_calls
        or delta.thought_signature
        or delta.text_signature
    )


def is_terminal(event: Event) -> bool:
    """Tell whether a stream ends with this event."""
    return isinstance(event, GenerationFinished | GenerationFailed)
