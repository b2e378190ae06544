"""A request that waits for long goes up, until nothing is above it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.scheduler.ageing import AgeingPolicy, Standing
from headrace.schema.names import Lane

POLICY = AgeingPolicy(30.0, 600.0)


@pytest.mark.parametrize(
    ("priority", "waited", "expected"),
    [
        (5, 0.0, Standing("online", 5, 0, 30.0)),
        (5, 29.9, Standing("online", 5, 0, 30.0)),
        (5, 30.0, Standing("online", 8, 1, 60.0)),
        (5, 60.0, Standing("online", 9, 2, None)),
        (5, 6000.0, Standing("online", 9, 2, None)),
        (0, 90.0, Standing("online", 9, 3, None)),
        (9, 90.0, Standing("online", 9, 0, None)),
    ],
)
def test_online(priority: int, waited: float, expected: Standing) -> None:
    assert POLICY.stand("online", priority, waited) == expected


@pytest.mark.parametrize(
    ("waited", "expected"),
    [
        (599.0, Standing("batch", 7, 0, 600.0)),
        (600.0, Standing("online", 0, 1, 630.0)),
        (630.0, Standing("online", 3, 2, 660.0)),
        (690.0, Standing("online", 9, 4, None)),
    ],
)
def test_the_batch_lane_goes_over_at_the_bottom(waited: float, expected: Standing) -> None:
    assert POLICY.stand("batch", 7, waited) == expected


def test_who_picks_it_up_asks_from_a_little_before_there_may_be_a_copy() -> None:
    assert POLICY.ask_after("online", 5) == 28.0
    assert POLICY.ask_after("batch", 9) == 598.0
    assert POLICY.ask_after("online", 9) is None
    assert AgeingPolicy(1.0, 4.0).ask_after("online", 0) == 0.75


@given(st.sampled_from(["online", "batch"]), st.integers(0, 9), st.floats(0.1, 100.0), st.floats(0.1, 1000.0))
def test_every_request_ends_at_the_top_in_steps_that_each_have_a_number(
    lane: Lane, priority: int, online: float, batch: float
) -> None:
    policy = AgeingPolicy(online, batch)
    standing = policy.stand(lane, priority, 0.0)
    seen = [standing]
    while standing.next_seconds is not None:
        standing = policy.stand(lane, priority, standing.next_seconds * (1 + 1e-9))
        seen.append(standing)
    assert (standing.lane, standing.priority) == ("online", 9)
    assert [one.steps for one in seen] == list(range(len(seen)))
