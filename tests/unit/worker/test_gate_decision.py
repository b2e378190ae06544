"""Who begins and who is paused: a property of every run, and the orders."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.schema.names import Lane
from headrace.worker.gate.decision import Contender, Decision, decide, has_spare, list_protected

PATIENCE = 100.0


def decide_for(contenders: list[Contender], *, places: int, slots: int, **options: Any) -> Decision:
    running = sum(each.holds_place for each in contenders)
    asked = [each for each in contenders if each.is_batch or not each.holds_place]
    return decide(asked, running=running, places=places, slots=slots, **options)


def make(number: int, lane: Lane = "batch", *, priority: int = 5, lost: float = 0.0, runs: bool = True) -> Contender:
    return Contender(
        number=number, lane=lane, priority=priority, holds_place=runs, may_pause=lane == "batch", lost_seconds=lost
    )


def settle(contenders: list[Contender], *, slots: int) -> list[Contender]:
    """Do what is decided, with everybody leaving at once, until nothing is left to do."""
    people = {each.number: each for each in contenders}
    for _ in range(10 * len(people) + 10):
        decision = decide_for(list(people.values()), places=slots, slots=slots, patience_seconds=PATIENCE)
        if decision.start is not None:
            people[decision.start] = change(people[decision.start], runs=True)
        elif decision.pause:
            for number in decision.pause:
                people[number] = change(people[number], runs=False)
        else:
            return list(people.values())
    raise AssertionError("it never settles")


def change(each: Contender, *, runs: bool) -> Contender:
    return Contender(
        number=each.number,
        lane=each.lane,
        priority=each.priority,
        holds_place=runs,
        may_pause=each.may_pause,
        lost_seconds=each.lost_seconds,
    )


_PEOPLE = st.lists(
    st.tuples(
        st.sampled_from(["online", "batch"]), st.integers(0, 9), st.booleans(), st.booleans(), st.sampled_from([0, 200])
    ),
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(people=_PEOPLE, slots=st.integers(1, 5))
def test_online_work_never_waits_for_batch_work_that_could_make_way(
    people: list[tuple[Lane, int, bool, bool, int]], slots: int
) -> None:
    contenders: list[Contender] = []
    for number, (lane, priority, runs, may_pause, lost) in enumerate(people):
        has_place = runs and sum(each.holds_place for each in contenders) < slots
        contenders.append(
            Contender(
                number=number,
                lane=lane,
                priority=priority,
                holds_place=has_place,
                may_pause=may_pause and lane == "batch",
                lost_seconds=lost if lane == "batch" else 0.0,
            )
        )
    after = settle(contenders, slots=slots)
    running = [each for each in after if each.holds_place]
    waiting = [each for each in after if not each.holds_place]
    assert len(running) <= slots
    assert len(running) == min(slots, len(after))
    if any(each.lane == "online" for each in waiting):
        protected = list_protected(after, slots=slots, patience_seconds=PATIENCE)
        for each in running:
            assert each.lane == "online" or not each.may_pause or each.number in protected


def test_the_lowest_priority_makes_way_first_then_the_youngest() -> None:
    running = [make(0, priority=3), make(1, priority=1), make(2, priority=1)]
    online = [make(3, "online", runs=False)]
    assert decide_for([*running, *online], places=3, slots=3, patience_seconds=PATIENCE).pause == (2,)
    online.append(make(4, "online", runs=False))
    assert decide_for([*running, *online], places=3, slots=3, patience_seconds=PATIENCE).pause == (2, 1)


def test_one_that_leaves_already_counts() -> None:
    leaving = Contender(number=0, lane="batch", priority=5, holds_place=True, is_leaving=True, may_pause=True)
    contenders = [leaving, make(1), make(2, "online", runs=False)]
    assert decide_for(contenders, places=2, slots=2, patience_seconds=PATIENCE).pause == ()


def test_who_begins_next() -> None:
    waiting = [
        make(0, runs=False, priority=9),
        make(1, runs=False, lost=PATIENCE),
        make(2, "online", runs=False, priority=1),
        make(3, "online", runs=False, priority=4),
        make(4, runs=False, lost=PATIENCE + 1),
        make(5, runs=False, priority=9),
    ]
    order: list[int] = []
    while waiting:
        start = decide_for(waiting, places=1, slots=1, patience_seconds=PATIENCE).start
        assert start is not None
        order.append(start)
        waiting = [each for each in waiting if each.number != start]
    # One that waited too long, then the next such one (a quarter of the places, at least one), then online work.
    assert order == [1, 4, 3, 2, 0, 5]


def test_who_has_lost_too_much_is_paused_no_more_up_to_a_quarter_of_the_places() -> None:
    running = [make(number, lost=PATIENCE) for number in range(8)]
    online = [make(10 + number, "online", runs=False) for number in range(8)]
    pause = decide_for([*running, *online], places=8, slots=8, patience_seconds=PATIENCE).pause
    assert sorted(pause) == [2, 3, 4, 5, 6, 7]


def test_batch_work_holds_off_for_a_moment_and_online_work_does_not() -> None:
    waiting = [make(0, runs=False)]
    decision = decide_for(waiting, places=1, slots=1, patience_seconds=PATIENCE, holds_off=True)
    assert (decision.start, decision.is_held_off) == (None, True)
    waiting.append(make(1, "online", runs=False))
    assert decide_for(waiting, places=1, slots=1, patience_seconds=PATIENCE, holds_off=True).start == 1


def test_a_full_engine_swaps_and_begins_nothing_more() -> None:
    contenders = [make(0), make(1, "online", runs=False)]
    assert decide_for(contenders, places=1, slots=4, patience_seconds=PATIENCE).pause == (0,)
    assert decide_for([make(0), make(1, runs=False)], places=1, slots=4, patience_seconds=PATIENCE).start is None


def test_who_is_protected_is_no_spare_place() -> None:
    assert has_spare([make(0)], slots=1, patience_seconds=PATIENCE)
    assert not has_spare([make(0, lost=PATIENCE)], slots=1, patience_seconds=PATIENCE)
    assert not has_spare([make(0), make(1, "online", runs=False)], slots=1, patience_seconds=PATIENCE)
