"""Folds the events of a generation into one whole answer, free of any vendor's words.

Streams and whole answers are made of the same events: a whole answer is what a client gets that reads a stream to its
end and keeps only the sum.
"""

from collections.abc import Sequence
from typing import assert_never

from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from headrace.schema.messages import ReasoningPart, TextPart, ToolCallPart

SaidPart = ReasoningPart | TextPart | ToolCallPart


class ToolCall(Struct, frozen=True, kw_only=True):
    """One call of a tool, whole; `arguments` is JSON as the model wrote it."""

    id: str
    name: str
    arguments: str


class SequenceAnswer(Struct, frozen=True, kw_only=True):
    """One sequence, whole.

    Attributes:
        index: its number.
        text: all of its text.
        finish_reason: why it ended.
        stop_sequence: the text of `stop` that ended it, if one did.
        token_ids: the ids of its tokens, where they were asked for.
        logprobs: of its tokens, where they were asked for.
        reasoning: what it thought before, where that was asked for.
        tool_calls: in the order in which it made them.
        parts: the same thoughts, texts and calls once more, in the order in which they came and with what each is
            signed with: as they are sent back when the conversation goes on.
    """

    index: int
    text: str
    finish_reason: FinishReason
    stop_sequence: str | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    parts: tuple[SaidPart, ...] = ()


class Answer(Struct, frozen=True, kw_only=True):
    """All that a generation that ended well had to say, by index, with what it cost.

    Attributes:
        sequences: the answers.
        usage: what they cost.
        timings: where the time went, if it is known.
        prompts: as the engine saw them, where that was asked for.
        embeddings: of the prompts, where those were asked for.
    """

    sequences: tuple[SequenceAnswer, ...]
    usage: Usage
    timings: Timings | None = None
    prompts: tuple[PromptEchoed, ...] = ()
    embeddings: tuple[PromptEmbedded, ...] = ()


class _GrowingCall:
    """A tool call while it grows."""

    __slots__ = ("arguments", "id", "name", "signature")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.signature: Signature | None = None

    def grow(self, delta: ToolCallDelta) -> None:
        self.id = self.id or delta.id or ""
        self.name = self.name or delta.name or ""
        self.arguments.append(delta.arguments)
        self.signature = self.signature or delta.signature

    def close(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments="".join(self.arguments))

    def to_part(self) -> ToolCallPart:
        call, signature = self.close(), self.signature
        return ToolCallPart(
            id=call.id,
            name=call.name,
            arguments=call.arguments,
            signature=None if signature is None else signature.value,
            signed_by=None if signature is None else signature.signed_by,
        )


class _GrowingRun:
    """A thought or a text while it grows; its signature ends it."""

    __slots__ = ("is_thought", "pieces", "signature")

    def __init__(self, *, is_thought: bool) -> None:
        self.is_thought = is_thought
        self.pieces: list[str] = []
        self.signature: Signature | None = None

    def to_part(self) -> ReasoningPart | TextPart:
        text, signature = "".join(self.pieces), self.signature
        if signature is None:
            return ReasoningPart(text) if self.is_thought else TextPart(text)
        if self.is_thought:
            return ReasoningPart(text, signature.value, signature.signed_by, signature.is_redacted)
        return TextPart(text, signature.value, signature.signed_by)


class _Growing:
    """A sequence while it grows."""

    __slots__ = ("calls", "end", "logprobs", "parts", "reasonings", "texts", "token_ids")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reasonings: list[str] = []
        self.calls: dict[int, _GrowingCall] = {}
        self.parts: list[_GrowingCall | _GrowingRun] = []
        self.token_ids: list[int] | None = None
        self.logprobs: list[TokenLogprob] | None = None
        self.end: SequenceFinished | None = None

    def grow(self, delta: SequenceDelta) -> None:
        self.texts.append(delta.text)
        if delta.reasoning:
            self.reasonings.append(delta.reasoning)
        self._grow_run(delta.reasoning, delta.thought_signature, is_thought=True)
        self._grow_run(delta.text, delta.text_signature, is_thought=False)
        for call in delta.tool_calls:
            self._call(call.index).grow(call)
        if delta.token_ids is not None:
            self.token_ids = self.token_ids or []
            self.token_ids.extend(delta.token_ids)
        if delta.logprobs is not None:
            self.logprobs = self.logprobs or []
            self.logprobs.extend(delta.logprobs)

    def _grow_run(self, piece: str, signature: Signature | None, *, is_thought: bool) -> None:
        if piece:
            self._run(is_thought=is_thought).pieces.append(piece)
        if signature is not None:
            # What is encrypted as a whole has nothing to do with a thought before it.
            self._run(is_thought=is_thought, is_new=signature.is_redacted).signature = signature

    def _run(self, *, is_thought: bool, is_new: bool = False) -> _GrowingRun:
        last = self.parts[-1] if self.parts else None
        if not is_new and isinstance(last, _GrowingRun) and last.is_thought == is_thought and last.signature is None:
            return last
        run = _GrowingRun(is_thought=is_thought)
        self.parts.append(run)
        return run

    def _call(self, index: int) -> _GrowingCall:
        found = self.calls.get(index)
        if found is None:
            found = self.calls[index] = _GrowingCall()
            self.parts.append(found)
        return found

    def close(self, index: int) -> SequenceAnswer:
        if self.end is None:
            raise HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before each of its sequences did")
        return SequenceAnswer(
            index=index,
            text="".join(self.texts),
            finish_reason=self.end.finish_reason,
            stop_sequence=self.end.stop_sequence,
            token_ids=None if self.token_ids is None else tuple(self.token_ids),
            logprobs=None if self.logprobs is None else tuple(self.logprobs),
            reasoning="".join(self.reasonings),
            tool_calls=tuple(self.calls[i].close() for i in sorted(self.calls)),
            parts=tuple(part.to_part() for part in self.parts),
        )


class AnswerFold:
    """Takes events as they come; once the terminal one is in, it has the answer or the failure.

    Attributes:
        failure: the event that ended the generation badly, if one did.
    """

    def __init__(self) -> None:
        self.failure: GenerationFailed | None = None
        self._finished: GenerationFinished | None = None
        self._sequences: dict[int, _Growing] = {}
        self._prompts: list[PromptEchoed] = []
        self._embeddings: list[PromptEmbedded] = []

    def add(self, events: Sequence[Event]) -> None:
        """Take the next events of the stream."""
        for event in events:
            match event:
                case SequenceDelta():
                    self._sequence(event.index).grow(event)
                case SequenceStarted():
                    self._sequence(event.index)
                case SequenceFinished():
                    self._sequence(event.index).end = event
                case GenerationFinished():
                    self._finished = event
                case GenerationFailed():
                    self.failure = event
                case PromptEchoed():
                    self._prompts.append(event)
                case PromptEmbedded():
                    self._embeddings.append(event)
                case GenerationQueued() | GenerationStarted():
                    pass
                case _:
                    assert_never(event)

    def _sequence(self, index: int) -> _Growing:
        return self._sequences.setdefault(index, _Growing())

    def answer(self) -> Answer:
        """Return the whole answer.

        Raises:
            HeadraceError: `stream_broken`: the generation has not ended, or ended with a sequence still open.
        """
        if self._finished is None:
            raise HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before it was whole")
        return Answer(
            sequences=tuple(self._sequences[index].close(index) for index in sorted(self._sequences)),
            usage=self._finished.usage,
            timings=self._finished.timings,
            prompts=tuple(sorted(self._prompts, key=_index_of)),
            embeddings=tuple(sorted(self._embeddings, key=_index_of)),
        )


def _index_of(event: PromptEchoed | PromptEmbedded) -> int:
    return event.index
