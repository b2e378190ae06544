"""Tells when the broker has read what was written: it answers a question that was written after that."""

import asyncio
from collections.abc import Callable

Answered = Callable[[], None]


class ReadBack:
    """The questions of one connection. Who waits while one is on its way shares the next one.

    So a channel needs no confirms, which would cost a frame for each message, and however many wait at once, they wait
    for two answers at most.

    Args:
        ask: writes a question, after all that was written before, and calls back when it is answered. Returns whether
            there is a connection to ask on.
    """

    def __init__(self, ask: Callable[[Answered], bool]) -> None:
        self._ask = ask
        self._asked: asyncio.Future[bool] | None = None

    async def wait(self) -> bool:
        """Return True when the broker has read what was written until now, and False where the connection is lost."""
        if (before := self._asked) is not None:
            # It may have been asked before the last of it was written.
            await asyncio.wait({before})
        asked = self._asked
        if asked is None or asked is before:
            asked = self._asked = self._begin()
        await asyncio.wait({asked})
        return asked.result()

    def lose(self) -> None:
        """Learn that no answer comes any more."""
        if self._asked is not None:
            _answer(self._asked, has_read=False)

    def _begin(self) -> asyncio.Future[bool]:
        asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if not self._ask(lambda: _answer(asked, has_read=True)):
            _answer(asked, has_read=False)
        return asked


def _answer(asked: asyncio.Future[bool], *, has_read: bool) -> None:
    if not asked.done():
        asked.set_result(has_read)
