"""The contract of the place for last words. One test suite holds every implementation to it."""

from collections.abc import Sequence
from typing import Protocol

from headrace.schema.last_word import LastWord

KEPT_SECONDS = 24 * 3600
"""As long as what a dead gateway has reserved waits to be settled."""


class LastWords(Protocol):
    """Where workers leave what orphaned generations have used, and who settles those finds it.

    A word is kept for `KEPT_SECONDS`, so there are never more than generations that lost their gateway in that time.
    It is read as often as somebody likes.
    """

    async def leave(self, words: Sequence[LastWord]) -> None:
        """Keep words. Of two about one attempt the later one stays; those of several attempts stay side by side.

        Raises:
            TransportUnavailableError: the place can't be reached; some may have been kept.
        """
        ...

    async def read(self, request_ids: Sequence[str]) -> list[LastWord]:
        """Return every word about these requests, in no order.

        Raises:
            TransportUnavailableError: the place can't be reached.
        """
        ...

    async def close(self) -> None:
        """Close the connection."""
        ...
