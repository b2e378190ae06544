"""What this worker made of generations whose scheduler is gone: left where whoever settles them finds it.

Only the worker knows it: what it told after its scheduler died arrived nowhere. One that had ended before that was
noticed counts too, so what the last generations used is remembered for a while.
"""

import asyncio
from collections import OrderedDict

import structlog

from headrace.schema.last_word import LastWord
from headrace.transport.base import TransportUnavailableError
from headrace.transport.last_words import LastWords
from headrace.transport.tasks import TaskOwner

# Generations that have ended, and may turn out to have had no reader: a few times what an engine runs at once.
MOST_ENDED = 1024
# Words that wait while the place is away; the oldest are given up first.
MOST_WAITING = 10_000
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 2.0
CLOSE_SECONDS = 2.0

_log = structlog.get_logger("headrace.worker")


class LastWordWriter:
    """Leaves last words, in a task of its own that ends when there are none.

    Args:
        place: where they are left; None where there is none, and nothing is left.
    """

    def __init__(self, place: LastWords | None) -> None:
        self._place = place
        self._ended: OrderedDict[str, LastWord] = OrderedDict()
        self._waiting: OrderedDict[str, LastWord] = OrderedDict()
        self._tasks = TaskOwner()
        self._said = ""

    def note(self, word: LastWord, *, is_orphan: bool) -> None:
        """Take what a generation has used that has ended here.

        Args:
            word: it.
            is_orphan: nobody reads it, and its word is left at once; else it may be by `orphan`.
        """
        if self._place is None:
            return
        if is_orphan:
            self._leave(word, self._place)
            return
        self._ended[word.request_id] = word
        if len(self._ended) > MOST_ENDED:
            self._ended.popitem(last=False)

    def orphan(self, request_id: str) -> None:
        """Learn that nobody read how a generation ended."""
        word = self._ended.pop(request_id, None)
        if word is not None and self._place is not None:
            self._leave(word, self._place)

    def _leave(self, word: LastWord, place: LastWords) -> None:
        self._waiting[word.request_id] = word
        if len(self._waiting) > MOST_WAITING:
            self._waiting.popitem(last=False)
        if not len(self._tasks):
            self._tasks.start(self._write(place), name="last words")

    async def _write(self, place: LastWords) -> None:
        pause = FIRST_PAUSE_SECONDS
        while self._waiting:
            words = list(self._waiting.values())
            try:
                await place.leave(words)
            except TransportUnavailableError as error:
                self._say(str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            self._said = ""
            for word in words:
                self._settle(word)

    def _settle(self, word: LastWord) -> None:
        if self._waiting.get(word.request_id) is word:
            del self._waiting[word.request_id]
        _log.info(
            "last word left",
            request_id=word.request_id,
            attempt=word.attempt,
            input_tokens=word.usage.input_tokens,
            output_tokens=word.usage.output_tokens,
        )

    def _say(self, reason: str) -> None:
        # Said once for each reason: a place that stays away would fill the log.
        if reason != self._said:
            self._said = reason
            _log.warning("last words wait", count=len(self._waiting), reason=reason)

    async def close(self) -> None:
        """Leave what can be left in a moment, and close the place."""
        if self._place is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._tasks.join()
        except TimeoutError:
            await self._tasks.close()
        await self._place.close()
