"""What became of the attempts at a generation, and which generations were given up: for their dead letters."""

from collections import OrderedDict

from headrace.schema.control import AttemptRefused
from headrace.schema.dead_letter import LostAttempt
from headrace.schema.events import AttemptQuery

MOST_GIVEN_UP = 1_000

GONE = "its worker was gone"
SILENT = "its worker did not say that it still runs it"
RETURNED = "its worker gave it back to the queue"
HANDED_AGAIN = "its worker was handed it again, and does not run it"


class AttemptHistory:
    """The attempts at one generation that came to nothing, bounded by `scheduler.max_attempts`."""

    __slots__ = ("_granted_at", "_lost")

    def __init__(self) -> None:
        self._granted_at = 0.0
        self._lost: list[LostAttempt] = []

    @property
    def lost(self) -> tuple[LostAttempt, ...]:
        """What was lost so far, the oldest first."""
        return tuple(self._lost)

    def begin(self, now: float) -> None:
        """Note when an attempt was granted, or first heard of, Unix seconds."""
        self._granted_at = self._granted_at or now

    def lose(self, attempt: int, worker_id: str | None, how: str) -> None:
        """Note that the attempt is lost; the next one may begin."""
        self._lost.append(LostAttempt(attempt, worker_id or "", self._granted_at, how))
        self._granted_at = 0.0


class GivenUp:
    """Requests that are not tried again, for the worker that asks once more.

    The one that was told may die before it has kept the dead letter; then the next one is told the same. The oldest
    are forgotten first.
    """

    def __init__(self) -> None:
        self._refusals: OrderedDict[tuple[str, int], AttemptRefused] = OrderedDict()

    def add(self, refusal: AttemptRefused, *, copy: int) -> None:
        """Remember a refusal, and out of which message of its task it becomes a dead letter."""
        self._refusals[refusal.request_id, copy] = refusal
        if len(self._refusals) > MOST_GIVEN_UP:
            self._refusals.popitem(last=False)

    def refusal_of(self, query: AttemptQuery) -> AttemptRefused:
        """Return what a worker is told about a request that does not run; its other messages are dropped."""
        return self._refusals.get((query.request_id, query.copy)) or AttemptRefused(query.request_id)
