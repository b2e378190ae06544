"""Tells what sequences grow by, in the order that every reader of events relies on.

Vendors differ in what they repeat, leave out or number; here it becomes one form: a sequence starts before it grows and
ends once, its calls are counted from 0 and begin one after the other, and a generation does not end before all of its
sequences have.
"""

from headrace.providers.failing import Complaints
from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFinished,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Signature,
    Stage,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)
from headrace.schema.messages import MAX_SIGNATURE_CHARACTERS
from headrace.schema.request import OutputFlags


class SequenceTelling:
    """One sequence.

    Attributes:
        index: which.
        calls: how many calls it has begun.
        is_finished: whether it has ended.
    """

    __slots__ = ("_call_id", "_call_key", "_complaints", "_output", "_prefix", "calls", "index", "is_finished")

    def __init__(self, index: int, *, prefix: str, output: OutputFlags, complaints: Complaints) -> None:
        self.index = index
        self.calls = 0
        self.is_finished = False
        self._output = output
        self._prefix = prefix
        self._complaints = complaints
        self._call_key: int | None = None
        self._call_id = ""

    def say(
        self,
        events: list[Event],
        text: str,
        *,
        token_ids: tuple[int, ...] | None = None,
        logprobs: tuple[TokenLogprob, ...] | None = None,
    ) -> None:
        """Add text, or tokens that make none."""
        self._check_open()
        events.append(SequenceDelta(self.index, text, token_ids, logprobs))

    def think(self, events: list[Event], reasoning: str) -> None:
        """Add reasoning, where it is asked for."""
        self._check_open()
        if self._output.reasoning:
            events.append(SequenceDelta(self.index, "", None, None, reasoning))

    def sign_thought(self, events: list[Event], signature: Signature) -> None:
        """End a thought with its signature, where both are asked for."""
        self._check_open()
        if self._output.reasoning and self._may_tell(signature):
            events.append(SequenceDelta(self.index, "", thought_signature=signature))

    def sign_text(self, events: list[Event], signature: Signature) -> None:
        """End a text with its signature, where it is asked for."""
        self._check_open()
        if self._may_tell(signature):
            events.append(SequenceDelta(self.index, "", text_signature=signature))

    def _may_tell(self, signature: Signature) -> bool:
        """Tell whether a signature is asked for; one that nobody could send back breaks the answer off here."""
        if len(signature.value) > MAX_SIGNATURE_CHARACTERS:
            raise self._complaints.garbled("a signature that is too long")
        return self._output.signatures and bool(signature.value)

    def call(
        self,
        events: list[Event],
        key: int,
        *,
        call_id: str | None = None,
        name: str | None = None,
        arguments: str = "",
        signature: Signature | None = None,
    ) -> None:
        """Add a piece of a call.

        Args:
            events: where to.
            key: the vendor's number for the call.
            call_id: what its result refers to; where the vendor gives none, it is made of the request's.
            name: the tool.
            arguments: the next piece of its arguments.
            signature: what it is signed with; where it begins only.
        """
        self._check_open()
        # Some servers number every call 0 and tell them apart by their ids only, and some repeat the id in each piece.
        begins = key != self._call_key or bool(name and call_id and call_id != self._call_id)
        if not begins:
            if arguments:
                events.append(
                    SequenceDelta(self.index, "", None, None, "", (ToolCallDelta(self.calls - 1, arguments),))
                )
            return
        if not name or (self._call_key is not None and key < self._call_key):
            raise self._complaints.garbled("pieces of tool calls that are not in order")
        self._call_key = key
        self._call_id = call_id or f"call_{self._prefix}_{self.index}_{self.calls}"
        told = signature if signature is not None and self._may_tell(signature) else None
        piece = ToolCallDelta(self.calls, arguments, self._call_id, name, told)
        self.calls += 1
        events.append(SequenceDelta(self.index, "", None, None, "", (piece,)))

    def _check_open(self) -> None:
        if self.is_finished:
            raise self._complaints.garbled("more of a sequence that has ended")

    def finish(self, events: list[Event], reason: FinishReason, stop_sequence: str | None = None) -> None:
        """End it. One that has called tools has ended for that, also where the vendor calls it a plain stop."""
        if self.is_finished:
            return
        self.is_finished = True
        if reason == "stop" and self.calls and stop_sequence is None:
            reason = "tool_calls"
        events.append(SequenceFinished(self.index, reason, stop_sequence))


class GenerationTelling:
    """All sequences of one generation.

    Args:
        count: how many sequences were asked for.
        request_id: what ids of calls are made of, where a vendor has none.
        output: what is asked for.
        complaints: say what goes wrong.

    Attributes:
        usage: what was used up to here, where it is known.
        is_done: whether the terminal event is told.
    """

    def __init__(self, *, count: int, request_id: str, output: OutputFlags, complaints: Complaints) -> None:
        self.usage: Usage | None = None
        self.is_done = False
        self._count = count
        self._request_id = request_id
        self._output = output
        self._complaints = complaints
        self._sequences: dict[int, SequenceTelling] = {}

    @property
    def stage(self) -> Stage:
        """How far it has come."""
        return "decode" if self._sequences else "prefill"

    def sequence(self, index: int, events: list[Event]) -> SequenceTelling:
        """Return a sequence, which starts where it has not.

        Raises:
            ProviderError: there was no such sequence asked for.
        """
        found = self._sequences.get(index)
        if found is None:
            if not 0 <= index < self._count:
                raise self._complaints.garbled("a sequence that was not asked for")
            found = self._sequences[index] = SequenceTelling(
                index, prefix=self._request_id, output=self._output, complaints=self._complaints
            )
            events.append(SequenceStarted(index))
        return found

    def check_whole(self) -> None:
        """Raise ProviderError unless every sequence has ended."""
        if len(self._sequences) < self._count:
            raise self._complaints.broken("a sequence never began")
        if not all(sequence.is_finished for sequence in self._sequences.values()):
            raise self._complaints.broken("a sequence has no end")

    def finish(self, events: list[Event]) -> None:
        """End the generation well.

        Raises:
            ProviderError: a sequence has not ended.
        """
        self.check_whole()
        self.is_done = True
        events.append(GenerationFinished(Usage(0, 0) if self.usage is None else self.usage))
