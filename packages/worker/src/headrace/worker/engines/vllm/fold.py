"""From vLLM's outputs to events."""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFinished,
    PromptEchoed,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.request import OutputFlags
from headrace.worker.engines.vllm.reading.base import Piece, Reader
from headrace.worker.engines.vllm.tokens import Place, TokenTable


class SequenceOutput(Protocol):
    """What one sequence grew by; vLLM's `CompletionOutput`."""

    @property
    def index(self) -> int:
        """Which sequence of its request."""
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
    def logprobs(self) -> Sequence[Place] | None:
        """What was likely at the place of each new token."""
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

    @property
    def prompt_logprobs(self) -> Sequence[Place | None] | None:
        """What was likely at the places of the prompt's tokens, with the first output."""
        ...


class PromptShape(Struct, frozen=True):
    """What is known of a prompt.

    Attributes:
        text: it as text; only where it is to be told.
        token_ids: its tokens.
    """

    text: str
    token_ids: Sequence[int]


class Unit(Struct, frozen=True):
    """A request to the engine, one or several of which make a job.

    Attributes:
        prompt: which prompt it is for.
        first_sequence: the job's index of its first sequence.
    """

    prompt: int
    first_sequence: int


class EventFold:
    """Folds the outputs of a job's requests into its events.

    Args:
        prompts: of the job.
        units: its requests to the engine.
        flags: what to tell.
        tokens: shows tokens.
        make_reader: makes the reader of a sequence; None where its text is the answer as it is.
        finished_tokens: of sequences that an earlier attempt has told whole.

    Attributes:
        is_finished: whether vLLM has ended every request by itself, so that there is nothing to abort.
    """

    def __init__(
        self,
        prompts: Sequence[PromptShape],
        units: Sequence[Unit],
        flags: OutputFlags,
        *,
        tokens: TokenTable,
        make_reader: Callable[[int], Reader] | None = None,
        finished_tokens: int = 0,
    ) -> None:
        self._prompts = prompts
        self._units = units
        self._flags = flags
        self._tokens = tokens
        self._make_reader = make_reader
        self._token_ids = flags.token_ids
        self._logprobs = flags.logprobs
        self._is_plain = make_reader is None and not flags.logprobs
        self._readers: dict[int, Reader] = {}
        self._started: set[int] = set()
        self._told: set[int] = set()
        self._open_units = set(range(len(units)))
        self._output_tokens = finished_tokens
        self._cached: dict[int, int] = {}
        self.is_finished = False

    @property
    def input_tokens(self) -> int:
        """Tokens of all prompts."""
        return sum(len(prompt.token_ids) for prompt in self._prompts)

    def begin(self) -> list[Event]:
        """Return what can be told of the prompts before the engine has answered."""
        if not self._flags.prompt or self._flags.prompt_logprobs is not None:
            return []
        return [PromptEchoed(i, prompt.text, tuple(prompt.token_ids)) for i, prompt in enumerate(self._prompts)]

    def read(self, unit: int, output: StepOutput) -> list[Event]:
        """Return the events of an output.

        Raises:
            HeadraceError: `engine_error`: vLLM gave a sequence up.
        """
        events: list[Event] = []
        if unit not in self._cached:
            self._begin_unit(unit, output, events)
        first_sequence = self._units[unit].first_sequence
        for sequence in output.outputs:
            self._read_sequence(first_sequence + sequence.index, sequence, events)
        if output.finished:
            self._open_units.discard(unit)
            if not self._open_units:
                self.is_finished = True
                events.append(GenerationFinished(self.usage))
        return events

    def end_without_engine(self) -> list[Event]:
        """Return the end of a job that has nothing to ask of the engine."""
        self.is_finished = True
        return [GenerationFinished(self.usage)]

    def _begin_unit(self, unit: int, output: StepOutput, events: list[Event]) -> None:
        self._cached[unit] = output.num_cached_tokens or 0
        flags, number = self._flags, self._units[unit].prompt
        if flags.prompt and flags.prompt_logprobs is not None and number not in self._told:
            self._told.add(number)
            prompt = self._prompts[number]
            places = output.prompt_logprobs or ()
            shown = self._tokens.show_prompt(prompt.token_ids, places, top=flags.prompt_logprobs)
            events.append(PromptEchoed(number, prompt.text, tuple(prompt.token_ids), shown))

    @property
    def usage(self) -> Usage:
        """What the job has used so far."""
        # A prompt that was asked for its sequences one by one is one prompt all the same.
        first_units = {unit.prompt: number for number, unit in reversed(list(enumerate(self._units)))}
        cached = sum(self._cached.get(number, 0) for number in first_units.values())
        reasoning = sum(reader.reasoning_tokens for reader in self._readers.values())
        return Usage(self.input_tokens, self._output_tokens, cached, reasoning)

    def _read_sequence(self, index: int, sequence: SequenceOutput, events: list[Event]) -> None:
        if index not in self._started:
            self._started.add(index)
            events.append(SequenceStarted(index))
        token_ids = sequence.token_ids
        self._output_tokens += len(token_ids)
        if not self._is_plain:
            self._read_closely(index, sequence, events)
        elif self._token_ids:
            if token_ids or sequence.text:
                events.append(SequenceDelta(index, sequence.text, tuple(token_ids)))
        elif sequence.text:
            events.append(SequenceDelta(index, sequence.text))
        if sequence.finish_reason is not None:
            self._finish(index, sequence, events)

    def _read_closely(self, index: int, sequence: SequenceOutput, events: list[Event]) -> None:
        piece = self._read_piece(index, sequence)
        token_ids: tuple[int, ...] | None = None
        logprobs = None
        # What nobody is told as reasoning is not told as tokens either.
        if not piece.is_thinking or self._flags.reasoning:
            token_ids = tuple(sequence.token_ids) if self._token_ids else None
            if self._logprobs and sequence.logprobs:
                top = self._flags.top_logprobs
                logprobs = self._tokens.show_sampled(sequence.token_ids, sequence.logprobs, top=top)
        reasoning = piece.reasoning if self._flags.reasoning else ""
        if piece.text or reasoning or piece.calls or token_ids or logprobs:
            events.append(SequenceDelta(index, piece.text, token_ids, logprobs, reasoning, piece.calls))

    def _read_piece(self, index: int, sequence: SequenceOutput) -> Piece:
        if self._make_reader is None:
            return Piece(text=sequence.text)
        if (reader := self._readers.get(index)) is None:
            reader = self._readers[index] = self._make_reader(index)
        return reader.read(sequence.text, sequence.token_ids, is_last=sequence.finish_reason is not None)

    def _finish(self, index: int, sequence: SequenceOutput, events: list[Event]) -> None:
        stop = sequence.stop_reason
        reason = _finish_reason(sequence.finish_reason or "")
        reader = self._readers.get(index)
        if reason == "stop" and reader is not None and reader.has_calls:
            reason = "tool_calls"
        events.append(SequenceFinished(index, reason, stop if isinstance(stop, str) else None))


def _finish_reason(reason: str) -> FinishReason:
    if reason == "length":
        return "length"
    # "repetition" is vLLM's own way of stopping a sequence that only repeats itself; it is off unless configured.
    if reason in ("stop", "repetition"):
        return "stop"
    # "abort" without our asking is an engine that shuts down, "error" one that failed: the answer is not whole.
    raise HeadraceError(ErrorCode.ENGINE_ERROR, "the engine gave this generation up before its end")
