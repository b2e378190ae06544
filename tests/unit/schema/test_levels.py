"""The levels of a queue: every priority above the one below it, and inside it the one who asks for a little first."""

import pytest

from headrace.schema.levels import CLASSIC_LEVELS, QUORUM_LEVELS, Levels


def test_shares_fall_with_the_logarithm_of_what_waits() -> None:
    shares = [CLASSIC_LEVELS.share_of(waiting) for waiting in (0, 1, 2, 3, 4, 7, 8, 15, 16, 31, 32, 63, 64, 10_000)]
    assert shares == [7, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert [QUORUM_LEVELS.share_of(waiting) for waiting in (0, 1, 2, 1000)] == [2, 1, 0, 0]


@pytest.mark.parametrize(("levels", "highest"), [(CLASSIC_LEVELS, 79), (QUORUM_LEVELS, 29), (Levels(1), 9)])
def test_a_higher_priority_is_above_all_shares_of_a_lower_one(levels: Levels, highest: int) -> None:
    for priority in range(9):
        assert levels.level_of(priority, levels.top_share) < levels.level_of(priority + 1, 0)
    assert levels.level_of(0, 0) == 0
    assert levels.highest == highest
    assert highest < 256


def test_a_quorum_queue_has_room_for_them() -> None:
    assert QUORUM_LEVELS.highest < 32
