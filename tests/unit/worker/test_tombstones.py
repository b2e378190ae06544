"""Tombstones are kept as long as they are worth something, and never without bound."""

from headrace.worker.tombstones import KEEP_AFTER_DEADLINE_SECONDS, MOST_TOMBSTONES, Tombstones


class _Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_cancelled_request_is_remembered() -> None:
    tombstones = Tombstones(_Clock())
    tombstones.add("r", 1100.0)
    assert "r" in tombstones
    assert "s" not in tombstones


def test_what_is_past_its_deadline_is_forgotten_when_another_comes() -> None:
    clock = _Clock()
    tombstones = Tombstones(clock)
    tombstones.add("old", 1010.0)
    clock.now = 1010.0 + KEEP_AFTER_DEADLINE_SECONDS + 1
    tombstones.add("new", 1100.0)
    assert "old" not in tombstones
    assert len(tombstones) == 1


def test_there_are_never_more_than_the_limit() -> None:
    tombstones = Tombstones(_Clock())
    for number in range(MOST_TOMBSTONES + 10):
        tombstones.add(str(number), 2000.0)
    assert len(tombstones) == MOST_TOMBSTONES
    assert "0" not in tombstones
