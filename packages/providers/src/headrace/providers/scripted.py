"""A provider that plays a script, for tests and demos. It needs no network and no key.

Each call plays the next play of the script, and the last one again and again. A play is a list of steps: tell events,
wait, fail, or hang until the reader goes.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import assert_never

from msgspec import Struct

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


class ScriptedProvider:
    """Plays a script.

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
        has_left = True
        try:
            for step in play:
                match step:
                    case Tell():
                        yield list(step.events)
                    case Wait():
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
