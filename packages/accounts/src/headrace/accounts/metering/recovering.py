"""What a dead gateway ran: settled by the last words of the workers, or by what was last noted where there are none.

A worker notices within seconds that nobody reads a generation any more, ends it, and leaves what it really made of it.
So whoever finds the journal of the dead gateway waits a little for the words that are missing. A retained generation
may be adopted meanwhile: who adopts it takes its lease over, and what is settled here means nothing then; that is why
those wait until it is known.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

import structlog
from msgspec import Struct, structs

from headrace.accounts.ledger.base import UsageRow
from headrace.accounts.ledger.entries import Lost
from headrace.scheduler.base import OWN_ROUTE
from headrace.schema.last_word import LastWord, most_used
from headrace.transport.base import TransportUnavailableError
from headrace.transport.last_words import LastWords

POLL_SECONDS = 0.25

Settle = Callable[[str, Sequence[UsageRow]], Awaitable[Sequence[UsageRow]]]
"""Settles the quotas of what a dead replica ran, and returns the rows with their cost."""

_log = structlog.get_logger("headrace.accounts")


class RecoveryPatience(Struct, frozen=True, kw_only=True):
    """How long what a dead gateway ran is waited for.

    Attributes:
        word_seconds: for the words of workers.
        adoption_seconds: for another gateway to adopt what was retained.
    """

    word_seconds: float = 10.0
    adoption_seconds: float = 0.0


class WordRecovery:
    """A `Recovery` by last words.

    Args:
        settle: prices them, and settles their quotas.
        words: where workers leave them; None where they can't.
        patience: how long to wait.
        clock: seconds.
    """

    def __init__(
        self,
        settle: Settle,
        words: LastWords | None,
        *,
        patience: RecoveryPatience,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settle = settle
        self._words = words
        self._patience = patience
        self._clock = clock

    async def recover(self, owner: str, lost: Sequence[Lost], *, stop: asyncio.Event) -> Sequence[UsageRow] | None:
        """Settle what a dead gateway ran; see `Recovery`."""
        if not lost:
            return ()
        began = self._clock()
        while True:
            words = await self._read([each.task_id for each in lost if may_have_word(each)])
            waited = self._clock() - began
            if not any(self._is_awaited(each, words, waited) for each in lost):
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await stop.wait()
            if stop.is_set():
                return None
        rows = [apply_words(each, words.get(each.task_id, ())) for each in lost]
        _log.info("lost generations settled", replica=owner, count=len(lost), by_words=len(words))
        return await self._settle(owner, rows)

    def _is_awaited(self, lost: Lost, words: Mapping[str, Sequence[LastWord]], waited: float) -> bool:
        if lost.task_id in words:
            return False
        if lost.retained and waited < self._patience.adoption_seconds:
            return True
        return self._words is not None and may_have_word(lost) and waited < self._patience.word_seconds

    async def _read(self, task_ids: Sequence[str]) -> dict[str, list[LastWord]]:
        found: dict[str, list[LastWord]] = {}
        if self._words is None:
            return found
        # While the place is away nothing is found; what was noted counts where it stays away.
        with suppress(TransportUnavailableError):
            for word in await self._words.read(task_ids):
                found.setdefault(word.request_id, []).append(word)
        return found


def may_have_word(lost: Lost) -> bool:
    """Tell whether a worker of ours may have run it, as far as was noted."""
    return lost.row.route in ("", OWN_ROUTE)


def apply_words(lost: Lost, words: Sequence[LastWord]) -> UsageRow:
    """Return the row of a lost generation with what workers said of it; without words what was noted stays."""
    row = lost.row
    if not words:
        return row
    usage = most_used([row.usage, *(word.usage for word in words)])
    ended_at = max([row.ended_at, *(round(word.ended_at * 1000) for word in words)])
    return structs.replace(
        row,
        route=OWN_ROUTE,
        target=row.target or words[0].model,
        attempts=max([row.attempts, *(word.attempt for word in words)]),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        reasoning_tokens=usage.reasoning_tokens,
        ended_at=ended_at,
        total_ms=max(0, ended_at - row.started_at),
    )
