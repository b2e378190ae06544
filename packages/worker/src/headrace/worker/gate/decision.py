"""Who begins and who is paused, as a function of who is at the gate."""

from collections.abc import Sequence
from heapq import nsmallest

from msgspec import Struct

from headrace.schema.names import Lane


class Contender(Struct, frozen=True, kw_only=True, gc=False):
    """A generation at the gate.

    Attributes:
        number: counts arrivals.
        lane: its lane.
        priority: 0 to 9, the higher the sooner.
        holds_place: it has a place in the engine.
        is_leaving: it was asked to give its place up, and is about to.
        may_pause: it has begun, so that it can be stopped where it stands.
        lost_seconds: what it has lost to pauses.
    """

    number: int
    lane: Lane
    priority: int
    holds_place: bool = False
    is_leaving: bool = False
    may_pause: bool = False
    lost_seconds: float = 0.0

    @property
    def is_batch(self) -> bool:
        """Whether it is of the batch lane."""
        return self.lane == "batch"


class Decision(Struct, frozen=True, kw_only=True):
    """What to do now.

    Attributes:
        start: whose turn it is, or None. After a start there may be more to decide.
        pause: who gives up a place.
        is_held_off: a generation of the batch lane could begin if it were not held off.
    """

    start: int | None = None
    pause: tuple[int, ...] = ()
    is_held_off: bool = False


def decide(
    contenders: Sequence[Contender],
    *,
    running: int,
    places: int,
    slots: int,
    patience_seconds: float,
    holds_off: bool = False,
) -> Decision:
    """Decide who begins, and who is paused for an online generation that finds no place.

    Args:
        contenders: who waits, and who of the batch lane has a place; online generations that run change nothing.
        running: how many have a place.
        places: how many may run now.
        slots: how many the engine runs at most.
        patience_seconds: who has lost so much to pauses is paused no more.
        holds_off: the batch lane begins nothing new at the moment.
    """
    protected = list_protected(contenders, slots=slots, patience_seconds=patience_seconds)
    waiting = [each for each in contenders if not each.holds_place]
    free = places - running
    if free > 0:
        able = [each for each in waiting if not (holds_off and each.is_batch and each.number not in protected)]
        if not able:
            return Decision(is_held_off=bool(waiting))
        return Decision(start=min(able, key=lambda each: _rank(each, protected, patience_seconds)).number)
    ahead = sum(each.number in protected for each in waiting)
    coming = sum(each.is_leaving for each in contenders) + free - ahead
    wanted = sum(not each.is_batch for each in waiting) - max(0, coming)
    return Decision(pause=_choose_victims(contenders, protected, wanted))


def list_protected(contenders: Sequence[Contender], *, slots: int, patience_seconds: float) -> frozenset[int]:
    """Return who of the batch lane is paused no more, the oldest first.

    They may fill a quarter of the places: were it all of them, one long rush of online work would end in a long wait.
    """
    overdue = sorted(each.number for each in contenders if each.is_batch and each.lost_seconds >= patience_seconds)
    return frozenset(overdue[: max(1, slots // 4)])


def _rank(each: Contender, protected: frozenset[int], patience_seconds: float) -> tuple[int, bool, int, int]:
    if each.number in protected:
        return (0, False, 0, each.number)
    if not each.is_batch:
        return (1, False, -each.priority, each.number)
    return (2, each.lost_seconds < patience_seconds, -each.priority, each.number)


def has_spare(contenders: Sequence[Contender], *, slots: int, patience_seconds: float) -> bool:
    """Tell whether more have a place that they would give up than online generations wait."""
    protected = list_protected(contenders, slots=slots, patience_seconds=patience_seconds)
    waiting = sum(not each.is_batch and not each.holds_place for each in contenders)
    leaving = sum(each.is_leaving for each in contenders)
    wanted = max(0, waiting - leaving) + 1
    return len(_choose_victims(contenders, protected, wanted)) == wanted


def _choose_victims(contenders: Sequence[Contender], protected: frozenset[int], wanted: int) -> tuple[int, ...]:
    """Return the lowest priority first, then the youngest."""
    if wanted <= 0:
        return ()
    able = [
        each
        for each in contenders
        if each.is_batch
        and each.holds_place
        and each.may_pause
        and not each.is_leaving
        and each.number not in protected
    ]
    return tuple(each.number for each in nsmallest(wanted, able, key=lambda each: (each.priority, -each.number)))
