"""What the readers of all vendors' streams have in common: where they stand, and how an event is decoded."""

from typing import TypeVar

import msgspec

from headrace.providers.failing import Complaints
from headrace.providers.telling import GenerationTelling
from headrace.schema.events import Stage, Usage

_T = TypeVar("_T")


class StreamReader:
    """The part of an `AnswerReader` that is the same whatever the vendor's words are.

    Args:
        telling: tells what the stream says.
        complaints: say what goes wrong.
    """

    def __init__(self, telling: GenerationTelling, complaints: Complaints) -> None:
        self._telling = telling
        self._complaints = complaints

    @property
    def is_done(self) -> bool:
        """Whether the terminal event is told."""
        return self._telling.is_done

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt, where they are known by now."""
        return 0 if self._telling.usage is None else self._telling.usage.input_tokens

    @property
    def stage(self) -> Stage:
        """How far the generation has come."""
        return self._telling.stage

    @property
    def usage(self) -> Usage | None:
        """What was used up to here, where it is known."""
        return self._telling.usage

    def _decode(self, decoder: msgspec.json.Decoder[_T], data: bytes, what: str) -> _T:
        """Return the data of an event.

        Raises:
            ProviderError: it can't be read.
        """
        try:
            return decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise self._complaints.garbled(f"{what} that is none") from error
