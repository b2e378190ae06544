"""A provider that plays a script, for tests and demos. It needs no network and no key.

Each call plays the next play of the script, and the last one again and again. A play is a list of steps: tell events,
wait, fail, or hang until the reader goes.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import assert_never

from msgspec import Struct, structs

from headrace.providers.base import ProviderCall, ProviderError
from headrace.schema.events import (
    Event,
    FinishReason,
    GenerationFinished,
    GenerationStarted,
    SequenceDelta,
    SequenceFinished,
    SequenceStarted,
    Usage,
)

DEMO_TEXT = (
    "This is the scripted provider. It plays back a text that was written beforehand, so that routes and dialects can "
    "be tried without an account anywhere. ✨"
)
STEP_SECONDS = 0.01


class Tell(Struct, frozen=True):
    """Yield these events in one list."""

    events: tuple[Event, ...]


class Wait(Struct, frozen=True):
    """Pause."""

    seconds: float


class Fail(Struct, frozen=True):
    """Raise this, which a provider does before its first list only."""

    error: ProviderError


class Hang(Struct, frozen=True):
    """Say nothing more until the reader goes."""


Step = Tell | Wait | Fail | Hang
Play = tuple[Step, ...]


def say(
    name: str,
    text: str,
    *,
    finish_reason: FinishReason = "stop",
    input_tokens: int = 1,
    step_seconds: float = 0.0,
) -> Play:
    """Return a play that says a text word by word and ends well.

    Args:
        name: of the provider.
        text: what to say; each word is a token.
        finish_reason: why it ends.
        input_tokens: of the prompt.
        step_seconds: pause before each word.
    """
    words = [word + " " for word in text.split(" ")]
    words[-1] = words[-1][:-1]
    steps: list[Step] = [Tell((GenerationStarted(f"provider:{name}", input_tokens), SequenceStarted(0)))]
    for word in words:
        if step_seconds:
            steps.append(Wait(step_seconds))
        steps.append(Tell((SequenceDelta(0, word),)))
    usage = Usage(input_tokens, len(words))
    steps.append(Tell((SequenceFinished(0, finish_reason), GenerationFinished(usage))))
    return tuple(steps)


class Limit:
    """Cuts a play where its sequences have as many tokens as were asked for; each delta is a token.

    Args:
        max_tokens: of each sequence; None for no limit.
    """

    def __init__(self, max_tokens: int | None) -> None:
        self._max_tokens = max_tokens
        self._tokens: dict[int, int] = {}
        self._cut: dict[int, int] = {}

    @property
    def is_reached(self) -> bool:
        """Whether all sequences that have begun have all that they may have: there is nothing to wait for."""
        return bool(self._tokens) and all(map(self._is_full, self._tokens))

    def _is_full(self, index: int) -> bool:
        return self._max_tokens is not None and self._tokens.get(index, 0) >= self._max_tokens

    def take(self, events: Sequence[Event]) -> list[Event]:
        """Return what is left of the next events."""
        return [left for event in events if (left := self._limit(event)) is not None]

    def _limit(self, event: Event) -> Event | None:
        match event:
            case SequenceStarted(index=index):
                self._tokens[index] = 0
            case SequenceDelta(index=index):
                if self._is_full(index):
                    self._cut[index] = self._cut.get(index, 0) + 1
                    return None
                self._tokens[index] = self._tokens.get(index, 0) + 1
            case SequenceFinished(index=index) if index in self._cut:
                return SequenceFinished(index, "length")
            case GenerationFinished(usage=usage):
                left = max(0, usage.output_tokens - sum(self._cut.values()))
                usage = structs.replace(usage, output_tokens=left, reasoning_tokens=min(left, usage.reasoning_tokens))
                return structs.replace(event, usage=usage)
            case _:
                pass
        return event


class ScriptedProvider:
    """Plays a script, up to the `max_tokens` of each call.

    Args:
        name: of the provider.
        plays: what each call gets; without one, each gets a built-in text.
        unreachable: what `check` raises.

    Attributes:
        calls: that were made, the oldest first.
        left_early: how many calls were closed before their play was over.
        is_closed: whether it was closed.
    """

    def __init__(self, name: str, plays: Sequence[Play] = (), *, unreachable: ProviderError | None = None) -> None:
        self._name = name
        self._plays = tuple(plays) or (say(name, DEMO_TEXT, step_seconds=STEP_SECONDS),)
        self._unreachable = unreachable
        self.calls: list[ProviderCall] = []
        self.left_early = 0
        self.is_closed = False

    @property
    def name(self) -> str:
        """Its name in the settings."""
        return self._name

    async def generate(self, call: ProviderCall) -> AsyncGenerator[list[Event], None]:
        """Play the next play; see `Provider.generate`."""
        play = self._plays[min(len(self.calls), len(self._plays) - 1)]
        self.calls.append(call)
        limit = Limit(call.request.generation_parameters.max_tokens)
        has_left = True
        try:
            for step in play:
                match step:
                    case Tell():
                        if events := limit.take(step.events):
                            yield events
                    case Wait():
                        if not limit.is_reached:
                            await asyncio.sleep(step.seconds)
                    case Fail():
                        has_left = False
                        raise step.error
                    case Hang():
                        await asyncio.Event().wait()
                    case _:
                        assert_never(step)
            has_left = False
        finally:
            self.left_early += has_left

    async def check(self) -> None:
        """Raise what the script says, if it says anything."""
        if self._unreachable is not None:
            raise self._unreachable

    async def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed = True
