"""Last words in this process, for tests and trials: where they matter, a process has died."""

import time
from collections.abc import Callable, Sequence

from headrace.schema.last_word import LastWord
from headrace.transport.last_words.base import KEPT_SECONDS


class MemoryLastWords:
    """A `LastWords` in this process.

    Args:
        kept_seconds: how long a word is kept.
        clock: seconds.
    """

    def __init__(self, *, kept_seconds: float = KEPT_SECONDS, clock: Callable[[], float] = time.monotonic) -> None:
        self._kept_seconds = kept_seconds
        self._clock = clock
        self._words: dict[str, tuple[float, dict[int, LastWord]]] = {}

    async def leave(self, words: Sequence[LastWord]) -> None:
        """Keep words; see `LastWords`."""
        now = self._clock()
        self._words = {name: kept for name, kept in self._words.items() if kept[0] > now}
        for word in words:
            _, known = self._words.get(word.request_id, (0.0, {}))
            self._words[word.request_id] = (now + self._kept_seconds, known | {word.attempt: word})

    async def read(self, request_ids: Sequence[str]) -> list[LastWord]:
        """Return every word about these requests; see `LastWords`."""
        now = self._clock()
        kept = [self._words[name] for name in request_ids if name in self._words]
        return [word for until, words in kept if until > now for word in words.values()]

    async def close(self) -> None:
        """Nothing is open."""
