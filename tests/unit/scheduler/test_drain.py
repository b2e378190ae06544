"""How fast a line moves, measured only while somebody waits."""

import pytest

from headrace.scheduler.drain import FORGET_SECONDS, SETTLE_SECONDS, WINDOW_SECONDS, DrainRate


def serve(drain: DrainRate, *, start: float, every: float, count: int) -> float:
    for number in range(1, count + 1):
        drain.note_pickup(start + number * every)
    return start + count * every


def busy_line(*, every: float = 0.5, count: int = 20) -> tuple[DrainRate, float]:
    drain = DrainRate()
    drain.begin_wait(0.0)
    drain.note_pickup(0.0)
    return drain, serve(drain, start=SETTLE_SECONDS, every=every, count=count)


def test_nothing_is_known_while_there_was_no_pickup() -> None:
    drain = DrainRate()
    assert drain.per_second(0.0) is None
    drain.begin_wait(0.0)
    assert drain.per_second(100.0) is None


def test_a_few_pickups_in_a_short_time_say_nothing() -> None:
    drain, now = busy_line(every=0.01, count=10)
    assert drain.per_second(now) is None
    drain, now = busy_line(every=10.0, count=3)
    assert drain.per_second(now) is None
    drain.note_pickup(now + 10.0)
    assert drain.per_second(now + 10.0) == pytest.approx(0.1)


def test_pickups_a_second() -> None:
    drain, now = busy_line(every=0.5)
    assert drain.per_second(now) == pytest.approx(2.0)
    assert drain.per_second(now + 0.25) == pytest.approx(20 / 10.25)


def test_what_fills_free_slots_at_once_says_nothing() -> None:
    drain = DrainRate()
    drain.begin_wait(0.0)
    for number in range(64):
        drain.note_pickup(5.0 + number / 1000)
    assert drain.per_second(6.0) is None
    now = serve(drain, start=5.0 + SETTLE_SECONDS, every=1.0, count=6)
    assert drain.per_second(now) == pytest.approx(1.0)


def test_time_in_which_nobody_waits_does_not_count() -> None:
    drain, now = busy_line(every=0.5)
    drain.end_wait(now)
    assert drain.per_second(now + 300.0) == pytest.approx(2.0)
    drain.begin_wait(now + 300.0)
    assert drain.per_second(now + 301.0) == pytest.approx(2.0)


def test_short_waits_in_a_system_that_has_room_say_nothing() -> None:
    drain = DrainRate()
    for number in range(100):
        drain.begin_wait(number * 10.0)
        drain.note_pickup(number * 10.0 + 0.004)
        drain.end_wait(number * 10.0 + 0.004)
    assert drain.per_second(1000.0) is None


def test_only_the_newest_count() -> None:
    drain, now = busy_line(every=0.1, count=300)
    now = serve(drain, start=now, every=1.0, count=int(WINDOW_SECONDS) + 1)
    assert drain.per_second(now) == pytest.approx(1.0, rel=0.1)


def test_a_few_are_kept_where_pickups_are_rare() -> None:
    drain, now = busy_line(every=60.0, count=10)
    assert drain.per_second(now) == pytest.approx(1 / 60.0)


def test_a_line_that_stands_still_becomes_slower_and_slower() -> None:
    drain, now = busy_line(every=0.5)
    later = [drain.per_second(now + seconds) for seconds in (10.0, 100.0, 1000.0)]
    assert later == sorted(later, reverse=True)  # pyright: ignore[reportArgumentType]
    assert later[-1] is not None
    assert later[-1] < 0.01


def test_it_is_forgotten_when_the_workers_are_gone_and_after_a_long_rest() -> None:
    drain, now = busy_line()
    drain.reset()
    assert drain.per_second(now) is None
    drain, now = busy_line()
    drain.end_wait(now)
    drain.begin_wait(now + FORGET_SECONDS + 1.0)
    assert drain.per_second(now + FORGET_SECONDS + 2.0) is None


def test_the_memory_is_bounded() -> None:
    drain, now = busy_line(every=0.001, count=5000)
    assert drain.per_second(now) == pytest.approx(1000.0, rel=0.01)
