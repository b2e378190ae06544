"""Reads answers that are one piece of JSON: embeddings and token counts."""

from abc import ABC, abstractmethod

import msgspec

from headrace.providers.failing import Complaints
from headrace.schema.events import Event, GenerationFinished, Stage, Usage


class WholeReader(ABC):
    """What such answers have in common; see `AnswerReader`.

    Args:
        complaints: say what goes wrong.
    """

    def __init__(self, complaints: Complaints) -> None:
        self._complaints = complaints
        self._usage: Usage | None = None

    @abstractmethod
    def read(self, body: bytes) -> tuple[list[Event], Usage]:
        """Return what a body says, and what it cost.

        Raises:
            ValueError: it can't be read; msgspec's errors are ones.
            OverflowError: a number in it is out of range.
        """

    @property
    def is_done(self) -> bool:
        """Whether the terminal event is told."""
        return self._usage is not None

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt."""
        return 0 if self._usage is None else self._usage.input_tokens

    @property
    def stage(self) -> Stage:
        """How far the generation has come: such an answer is there or not."""
        return "prefill"

    @property
    def usage(self) -> Usage | None:
        """What it cost."""
        return self._usage

    def take(self, data: bytes, events: list[Event]) -> None:
        """Take the whole body."""
        try:
            found, self._usage = self.read(data)
        except (msgspec.DecodeError, ValueError, OverflowError, RecursionError) as error:
            raise self._complaints.garbled("an answer that is none") from error
        events += [*found, GenerationFinished(self._usage)]

    def end(self) -> list[Event]:
        """Return nothing: the body was taken as a whole."""
        return []
