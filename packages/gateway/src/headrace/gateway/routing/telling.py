"""What one target says, held back until it says something of its answer.

A vendor may accept a call and then fail it before the first word. Until a word is out nothing binds the request to this
target, so what merely opens the stream waits for it, and is dropped with a target that fails.
"""

from collections.abc import Sequence

from msgspec import structs

from headrace.gateway.routing.estimate import OutputEstimate, estimate_input
from headrace.schema.events import (
    Event,
    GenerationFailed,
    GenerationFinished,
    GenerationQueued,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)
from headrace.schema.request import ChatCompletionRequest

_NOTHING = Usage(0, 0)


class Telling:
    """The events of one try.

    Attributes:
        has_started: the target has accepted the request.
        has_told: some of it is out, and no other target may follow.
        has_text: there was some text.
        end: the terminal event, once it came.

    Args:
        request: what was asked, for counting where nobody does.
    """

    def __init__(self, request: ChatCompletionRequest) -> None:
        self.has_started = False
        self.has_told = False
        self.has_text = False
        self.end: GenerationFinished | GenerationFailed | None = None
        self._request = request
        self._input_tokens = 0
        self._output = OutputEstimate()
        self._held: list[Event] = []

    @property
    def usage(self) -> Usage:
        """What it has cost so far: as the target said, or counted from what it told."""
        said = None if self.end is None else self.end.usage
        if said is not None and said != _NOTHING:
            return said
        if not self.has_started:
            return _NOTHING
        if not self._input_tokens:
            # Once: a prompt may be long, and this is asked for again and again.
            self._input_tokens = estimate_input(self._request)
        return Usage(
            self._input_tokens,
            self._output.output_tokens,
            reasoning_tokens=self._output.reasoning_tokens,
        )

    def take(self, events: Sequence[Event]) -> Sequence[Event]:
        """Take what the target says, and return what is to be told now."""
        told: list[Event] = []
        self._output.add(events)
        for event in events:
            if self.end is not None:
                break
            if isinstance(event, GenerationQueued):
                # Waiting is no part of an answer.
                told.append(event)
                continue
            if isinstance(event, GenerationStarted):
                self.has_started = True
                self._input_tokens = event.input_tokens
            if isinstance(event, SequenceDelta):
                self.has_text = True
            if isinstance(event, GenerationFinished | GenerationFailed):
                event = self._close(event)
            self._held.append(event)
            self.has_told = self.has_told or _says_something(event)
            if self.has_told:
                told += self._held
                self._held = []
        return told

    def _close(self, event: GenerationFinished | GenerationFailed) -> Event:
        self.end = event
        if event.usage is None or event.usage == _NOTHING:
            self.end = structs.replace(event, usage=self.usage)
        return self.end


def _says_something(event: Event) -> bool:
    """Tell whether an event is a part of an answer, and not its opening, or the end of one that had no more."""
    if isinstance(event, SequenceFinished):
        return event.finish_reason not in ("error", "cancelled")
    return not isinstance(event, GenerationStarted | SequenceStarted | GenerationFailed)
