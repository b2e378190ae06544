"""From vLLM's outputs to events."""

from collections.abc import Sequence
from typing import Protocol

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFinished,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)


class SequenceOutput(Protocol):
    """What one sequence grew by; vLLM's `CompletionOutput`."""

    @property
    def index(self) -> int:
        """Which sequence."""
        ...

    @property
    def text(self) -> str:
        """Its new text."""
        ...

    @property
    def token_ids(self) -> Sequence[int]:
        """Its new tokens."""
        ...

    @property
    def finish_reason(self) -> str | None:
        """Why it ended, once it has."""
        ...

    @property
    def stop_reason(self) -> int | str | None:
        """The stop text or token that ended it."""
        ...


class StepOutput(Protocol):
    """What one request got from a step, or from several when its reader was slow; vLLM's `RequestOutput`."""

    @property
    def outputs(self) -> Sequence[SequenceOutput]:
        """The sequences that grew."""
        ...

    @property
    def finished(self) -> bool:
        """Whether every sequence has ended."""
        ...

    @property
    def num_cached_tokens(self) -> int | None:
        """Tokens of the prompt that came from the prefix cache."""
        ...


class EventFold:
    """Folds the outputs of one request into its events.

    Attributes:
        is_finished: whether vLLM has ended the request by itself, so that there is nothing to abort.
    """

    __slots__ = ("_cached_tokens", "_input_tokens", "_output_tokens", "_started", "_token_ids", "is_finished")

    def __init__(self, *, input_tokens: int, token_ids: bool) -> None:
        self._input_tokens = input_tokens
        self._token_ids = token_ids
        self._started: set[int] = set()
        self._output_tokens = 0
        self._cached_tokens: int | None = None
        self.is_finished = False

    def read(self, output: StepOutput) -> list[Event]:
        """Return the events of an output.

        Raises:
            HeadraceError: `engine_error`: vLLM gave a sequence up.
        """
        if self._cached_tokens is None:
            self._cached_tokens = output.num_cached_tokens or 0
        events: list[Event] = []
        for sequence in output.outputs:
            self._read_sequence(sequence, events)
        if output.finished:
            self.is_finished = True
            events.append(GenerationFinished(Usage(self._input_tokens, self._output_tokens, self._cached_tokens)))
        return events

    def _read_sequence(self, sequence: SequenceOutput, events: list[Event]) -> None:
        index = sequence.index
        if index not in self._started:
            self._started.add(index)
            events.append(SequenceStarted(index))
        token_ids = sequence.token_ids
        self._output_tokens += len(token_ids)
        if self._token_ids:
            if token_ids or sequence.text:
                events.append(SequenceDelta(index, sequence.text, tuple(token_ids)))
        elif sequence.text:
            events.append(SequenceDelta(index, sequence.text))
        if sequence.finish_reason is not None:
            stop = sequence.stop_reason
            reason = _finish_reason(sequence.finish_reason)
            events.append(SequenceFinished(index, reason, stop if isinstance(stop, str) else None))


def _finish_reason(reason: str) -> FinishReason:
    if reason == "length":
        return "length"
    # "repetition" is vLLM's own way of stopping a sequence that only repeats itself; it is off unless configured.
    if reason in ("stop", "repetition"):
        return "stop"
    # "abort" without our asking is an engine that shuts down, "error" one that failed: the answer is not whole.
    raise HeadraceError(ErrorCode.ENGINE_ERROR, "the engine gave this generation up before its end")
