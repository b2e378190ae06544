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
    Timings,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)


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
    """

    index: int
    text: str
    finish_reason: FinishReason
    stop_sequence: str | None = None
    token_ids: tuple[int, ...] | None = None
    logprobs: tuple[TokenLogprob, ...] | None = None
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


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

    __slots__ = ("arguments", "id", "name")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def grow(self, delta: ToolCallDelta) -> None:
        self.id = self.id or delta.id or ""
        self.name = self.name or delta.name or ""
        self.arguments.append(delta.arguments)

    def close(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments="".join(self.arguments))


class _Growing:
    """A sequence while it grows."""

    __slots__ = ("calls", "end", "logprobs", "reasonings", "texts", "token_ids")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reasonings: list[str] = []
        self.calls: dict[int, _GrowingCall] = {}
        self.token_ids: list[int] | None = None
        self.logprobs: list[TokenLogprob] | None = None
        self.end: SequenceFinished | None = None

    def grow(self, delta: SequenceDelta) -> None:
        self.texts.append(delta.text)
        if delta.reasoning:
            self.reasonings.append(delta.reasoning)
        for call in delta.tool_calls:
            self.calls.setdefault(call.index, _GrowingCall()).grow(call)
        if delta.token_ids is not None:
            self.token_ids = self.token_ids or []
            self.token_ids.extend(delta.token_ids)
        if delta.logprobs is not None:
            self.logprobs = self.logprobs or []
            self.logprobs.extend(delta.logprobs)

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
