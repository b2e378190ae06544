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
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Timings,
    Usage,
)


class SequenceAnswer(Struct, frozen=True, kw_only=True):
    """One sequence, whole.

    Attributes:
        index: its number.
        text: all of its text.
        finish_reason: why it ended.
        stop_sequence: the text of `stop` that ended it, if one did.
        token_ids: the ids of its tokens, where they were asked for.
    """

    index: int
    text: str
    finish_reason: FinishReason
    stop_sequence: str | None = None
    token_ids: tuple[int, ...] | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """All sequences of a generation that ended well, by index, with what they cost."""

    sequences: tuple[SequenceAnswer, ...]
    usage: Usage
    timings: Timings | None = None


class _Growing:
    """A sequence while it grows."""

    __slots__ = ("end", "texts", "token_ids")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.token_ids: list[int] | None = None
        self.end: SequenceFinished | None = None


class AnswerFold:
    """Takes events as they come; once the terminal one is in, it has the answer or the failure.

    Attributes:
        failure: the event that ended the generation badly, if one did.
    """

    def __init__(self) -> None:
        self.failure: GenerationFailed | None = None
        self._finished: GenerationFinished | None = None
        self._sequences: dict[int, _Growing] = {}

    def add(self, events: Sequence[Event]) -> None:
        """Take the next events of the stream."""
        for event in events:
            match event:
                case SequenceDelta():
                    self._grow(event)
                case SequenceStarted():
                    self._sequence(event.index)
                case SequenceFinished():
                    self._sequence(event.index).end = event
                case GenerationFinished():
                    self._finished = event
                case GenerationFailed():
                    self.failure = event
                case GenerationQueued() | GenerationStarted():
                    pass
                case _:
                    assert_never(event)

    def _sequence(self, index: int) -> _Growing:
        return self._sequences.setdefault(index, _Growing())

    def _grow(self, delta: SequenceDelta) -> None:
        sequence = self._sequence(delta.index)
        sequence.texts.append(delta.text)
        if delta.token_ids is not None:
            if sequence.token_ids is None:
                sequence.token_ids = []
            sequence.token_ids.extend(delta.token_ids)

    def answer(self) -> Answer:
        """Return the whole answer.

        Raises:
            HeadraceError: `stream_broken`: the generation has not ended, or ended with a sequence still open.
        """
        if self._finished is None:
            raise HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before it was whole")
        return Answer(
            sequences=tuple(_close(index, sequence) for index, sequence in sorted(self._sequences.items())),
            usage=self._finished.usage,
            timings=self._finished.timings,
        )


def _close(index: int, sequence: _Growing) -> SequenceAnswer:
    if sequence.end is None:
        raise HeadraceError(ErrorCode.STREAM_BROKEN, "the answer ended before each of its sequences did")
    return SequenceAnswer(
        index=index,
        text="".join(sequence.texts),
        finish_reason=sequence.end.finish_reason,
        stop_sequence=sequence.end.stop_sequence,
        token_ids=None if sequence.token_ids is None else tuple(sequence.token_ids),
    )
