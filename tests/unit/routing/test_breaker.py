"""When a target is set aside, by a clock of our own."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.gateway.routing.backoff import FIRST_SECONDS, LONGEST_SECONDS, pause_before_retry
from headrace.gateway.routing.breaker import MOST_OPEN_SECONDS, Breaker, BreakerRules, BreakerState

RULES = BreakerRules(min_calls=4, ratio=0.5, window_seconds=10.0, open_seconds=5.0)


def _call(breaker: Breaker, now: float, *, well: bool) -> None:
    is_probe = breaker.begin(now)
    if well:
        breaker.succeed(now, is_probe=is_probe)
    else:
        breaker.fail(now, is_probe=is_probe)


def _opened(at: float = 0.0) -> Breaker:
    breaker = Breaker(RULES)
    for _ in range(4):
        _call(breaker, at, well=False)
    assert breaker.state(at) is BreakerState.OPEN
    return breaker


def test_it_opens_at_the_ratio_and_not_before_there_are_enough_calls() -> None:
    breaker = Breaker(RULES)
    for well in (False, True, False):
        _call(breaker, 0.0, well=well)
        assert breaker.state(0.0) is BreakerState.CLOSED
    _call(breaker, 0.0, well=False)
    assert breaker.state(0.0) is BreakerState.OPEN
    assert breaker.blocked_seconds(1.0) == 4.0


def test_it_stays_closed_below_the_ratio() -> None:
    breaker = Breaker(RULES)
    for i in range(100):
        _call(breaker, i / 100, well=i % 3 != 2)
    assert breaker.state(1.0) is BreakerState.CLOSED


def test_what_is_older_than_the_window_counts_no_more() -> None:
    breaker = Breaker(RULES)
    for moment in (0.0, 0.5, 0.9):
        _call(breaker, moment, well=False)
    _call(breaker, 10.5, well=False)
    assert breaker.state(10.5) is BreakerState.CLOSED


def test_one_probe_at_a_time_and_it_closes() -> None:
    breaker = _opened()
    assert breaker.state(5.0) is BreakerState.HALF_OPEN
    assert breaker.blocked_seconds(5.0) is None
    assert breaker.begin(5.0)
    assert breaker.blocked_seconds(5.0) is not None
    breaker.succeed(6.0, is_probe=True)
    assert breaker.state(6.0) is BreakerState.CLOSED
    _call(breaker, 6.0, well=False)
    assert breaker.state(6.0) is BreakerState.CLOSED, "what was before the probe is forgotten"


def test_a_probe_that_fails_opens_it_for_twice_as_long() -> None:
    breaker, now, seconds = _opened(), 5.0, 5.0
    for _ in range(12):
        assert breaker.begin(now)
        breaker.fail(now, is_probe=True)
        seconds = min(seconds * 2, MOST_OPEN_SECONDS)
        assert breaker.blocked_seconds(now) == pytest.approx(seconds)
        now += seconds


def test_a_probe_that_nobody_waited_for_makes_room_for_another() -> None:
    breaker = _opened()
    assert breaker.begin(5.0)
    breaker.give_up(is_probe=True)
    assert breaker.blocked_seconds(5.0) is None
    assert breaker.begin(5.0)


def test_a_call_from_before_it_opened_changes_nothing() -> None:
    breaker = Breaker(RULES)
    late = [breaker.begin(0.0) for _ in range(6)]
    for is_probe in late[:4]:
        breaker.fail(1.0, is_probe=is_probe)
    breaker.succeed(2.0, is_probe=late[4])
    breaker.fail(7.0, is_probe=late[5])
    assert breaker.state(2.0) is BreakerState.OPEN
    assert breaker.state(7.0) is BreakerState.HALF_OPEN


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans()), max_size=200))
def test_whatever_happens_at_most_one_probe_runs_and_it_is_tried_again(calls: list[tuple[float, bool]]) -> None:
    breaker, now = Breaker(RULES), 0.0
    for pause, well in calls:
        now += pause
        if breaker.blocked_seconds(now) is None:
            is_probe = breaker.begin(now)
            if is_probe:
                assert breaker.blocked_seconds(now) is not None
            (breaker.succeed if well else breaker.fail)(now, is_probe=is_probe)
    assert breaker.blocked_seconds(now + MOST_OPEN_SECONDS) is None


@given(st.integers(1, 60), st.floats(0, 1, exclude_max=True), st.floats(0.001, 1000), st.none() | st.floats(0, 100))
def test_a_pause_fits_before_the_deadline_and_is_no_shorter_than_asked_for(
    retry: int, random: float, left: float, asked: float | None
) -> None:
    pause = pause_before_retry(retry, random=random, retry_after_seconds=asked, left_seconds=left)
    if pause is not None:
        assert FIRST_SECONDS / 2 <= pause <= LONGEST_SECONDS
        assert pause < left
        assert asked is None or pause >= asked


def test_pauses_double_up_to_a_limit() -> None:
    pauses = [pause_before_retry(n, random=1.0, retry_after_seconds=None, left_seconds=99) for n in range(1, 8)]
    assert pauses == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0]
    assert pause_before_retry(1, random=0.0, retry_after_seconds=60, left_seconds=99) is None
