"""What an attempt has told, and how it goes on after a pause without its reader seeing a seam.

A generation that was paused is run again from where it stood: the engine tells its answer from the start, and what was
told already is taken away. It is all one attempt, so offsets simply go on.
"""

from collections.abc import Sequence
from typing import assert_never

from msgspec import structs

from headrace.schema.control import ToldSequence
from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    PromptEchoed,
    PromptEmbedded,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
)
from headrace.schema.progress import SequenceProgress, SequenceSeam


class Retelling:
    """Joins the turns of one attempt.

    Args:
        before: what earlier attempts have told; this one tells it again.

    Attributes:
        is_over: whether the generation has finished.
    """

    def __init__(self, before: Sequence[ToldSequence] = ()) -> None:
        self._before = {sequence.index: sequence for sequence in before}
        self._progress: dict[int, SequenceProgress] = {}
        self._seams: dict[int, SequenceSeam] = {}
        self._said: set[tuple[type[Event], int]] = set()
        self._turn = 0
        self.is_over = False

    @property
    def has_told(self) -> bool:
        """Whether any part of an answer was told, which a further turn must go on from."""
        return bool(self._before or self._progress)

    def begin_turn(self) -> tuple[ToldSequence, ...]:
        """Begin a turn, and return what the engine is to go on from."""
        self._turn += 1
        self._seams = {index: SequenceSeam(progress) for index, progress in self._progress.items()}
        return tuple(self._told(index) for index in sorted(self._before.keys() | self._progress.keys()))

    def _told(self, index: int) -> ToldSequence:
        progress = self._progress.get(index)
        said = () if progress is None else tuple(progress.token_ids)
        before = self._before.get(index)
        if before is not None and (progress is None or len(before.token_ids) > len(said)):
            # This attempt has not yet told again what the one before it told.
            return before
        return ToldSequence(index, said, (SequenceFinished, index) in self._said)

    def take(self, events: Sequence[Event]) -> list[Event]:
        """Return what is new among the events of a turn.

        Raises:
            HeadraceError: `worker_lost`: the turn says something else than the one before it.
        """
        if self._turn == 1:
            for event in events:
                self._note(event)
            return list(events)
        return [new for event in events if (new := self._take(event)) is not None]

    def _note(self, event: Event) -> None:
        match event:
            case SequenceDelta(index=index):
                progress = self._progress.get(index)
                if progress is None:
                    progress = self._progress[index] = SequenceProgress()
                progress.note(event)
            case SequenceStarted(index=index) | SequenceFinished(index=index):
                self._said.add((type(event), index))
            case PromptEchoed(index=index) | PromptEmbedded(index=index):
                self._said.add((type(event), index))
            case GenerationStarted():
                self._said.add((GenerationStarted, 0))
            case GenerationFinished():
                self.is_over = True
            case GenerationQueued() | GenerationFailed():
                pass
            case _:
                assert_never(event)

    def _take(self, event: Event) -> Event | None:
        match event:
            case SequenceDelta(index=index):
                new = self._trim(event)
            case SequenceFinished(index=index):
                if index in self._seams:
                    raise _says_something_else()
                new = event if (SequenceFinished, index) not in self._said else None
            case SequenceStarted(index=index) | PromptEchoed(index=index) | PromptEmbedded(index=index):
                new = event if (type(event), index) not in self._said else None
            case GenerationStarted():
                new = event if (GenerationStarted, 0) not in self._said else None
            case GenerationFinished(usage=usage):
                # What lies in the engine's cache by now was computed for this very generation.
                new = structs.replace(event, usage=structs.replace(usage, cached_tokens=0))
            case _:
                new = event
        if new is not None:
            self._note(new)
        return new

    def _trim(self, delta: SequenceDelta) -> SequenceDelta | None:
        seam = self._seams.get(delta.index)
        if seam is None:
            # A whole sequence that a further turn tells again, as a search does.
            return None if (SequenceFinished, delta.index) in self._said else delta
        try:
            rest = seam.trim(delta)
        except ValueError:
            raise _says_something_else() from None
        if seam.is_passed:
            del self._seams[delta.index]
        return rest


def _says_something_else() -> HeadraceError:
    message = "this worker can't go on with the answer that it paused; send the request again"
    return HeadraceError(ErrorCode.WORKER_LOST, message)
