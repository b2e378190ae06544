"""From what a search knows to what a reader gets: text that can't change any more, as soon as it can't.

The tokens that all possible answers begin with are certain, for each of the answers. They are turned into text as they
come; the rest of an answer comes when it is chosen.
"""

from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Struct

from headrace.worker.engines.vllm.beam.search import Beam, Expansion, Hypothesis


class TextStream(Protocol):
    """Turns tokens into text, whole characters only; vLLM's `IncrementalDetokenizer`."""

    def update(self, new_token_ids: list[int], stop_terminated: bool) -> str | None:  # noqa: FBT001 - vLLM's own
        """Take tokens; the last one is left out of the text where it ended the answer."""
        ...

    def get_next_output_text(self, finished: bool, delta: bool) -> str:  # noqa: FBT001 - vLLM's own
        """Return the new text, less what may be the beginning of a stop text."""
        ...


class BeamSequence(Struct, kw_only=True):
    """What one answer grew by, in the form of vLLM's `CompletionOutput`."""

    index: int
    text: str
    token_ids: list[int]
    logprobs: list[Any] | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    cumulative_logprob: float | None = None


class BeamOutput(Struct, kw_only=True):
    """What a step made certain, in the form of vLLM's `RequestOutput`."""

    outputs: list[BeamSequence]
    finished: bool = False
    num_cached_tokens: int | None = None
    prompt_logprobs: None = None


# Shows a token: its id, what it was chosen from.
ShowPlace = Callable[[int, Expansion], Any]


class AnswerStream:
    """One answer on its way out.

    Args:
        index: which of the answers.
        text: makes text of its tokens.
        show: makes what is shown of a token's place; None where nobody asks for log probabilities.
    """

    def __init__(self, index: int, text: TextStream, show: ShowPlace | None) -> None:
        self._index = index
        self._text = text
        self._show = show
        self._sent = 0

    def grow(self, beam: Beam, length: int) -> BeamSequence:
        """Take the first tokens of a beam as certain."""
        return self._take(beam, length, ended_by_token=False, is_finished=False)

    def finish(self, hypothesis: Hypothesis) -> BeamSequence:
        """Take the whole of the answer."""
        beam, ending = hypothesis.beam, hypothesis.ending
        ended_by_token = ending.reason == "stop" and not isinstance(ending.stop, str)
        sequence = self._take(beam, len(beam.token_ids), ended_by_token=ended_by_token, is_finished=True)
        sequence.finish_reason = ending.reason
        sequence.stop_reason = ending.stop
        sequence.cumulative_logprob = beam.total
        return sequence

    def _take(self, beam: Beam, length: int, *, ended_by_token: bool, is_finished: bool) -> BeamSequence:
        first, self._sent = self._sent, length
        token_ids = list(beam.token_ids[first:length])
        self._text.update(list(token_ids), ended_by_token)
        shown = None
        if self._show is not None:
            shown = [self._show(*place) for place in zip(token_ids, beam.places[first:length], strict=True)]
        text = self._text.get_next_output_text(is_finished, True)  # noqa: FBT003 - vLLM's own
        return BeamSequence(index=self._index, text=text, token_ids=token_ids, logprobs=shown)
