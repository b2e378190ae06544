"""Yes or no at the door, and when to come again."""

import pytest

from headrace.scheduler.admission import Limits, Outlook, judge

LIMITS = Limits(waiting=100, wait_seconds=20.0, timeout_seconds=60.0)


@pytest.mark.parametrize(
    "outlook",
    [
        Outlook(0, 0.0, None),
        Outlook(99, 20.0, 5.0),
        # Nothing is known: it is taken, and waits up to its deadline.
        Outlook(99, None, None),
    ],
)
def test_what_is_worth_queueing_is_taken(outlook: Outlook) -> None:
    assert judge(outlook, LIMITS) is None


@pytest.mark.parametrize(
    ("outlook", "limits", "reason", "retry"),
    [
        (Outlook(104, None, 2.0), LIMITS, "max_waiting", 2.5),
        (Outlook(104, None, None), LIMITS, "max_waiting", None),
        (Outlook(50, 25.0, 2.0), LIMITS, "max_wait", 5.0),
        (Outlook(50, 61.5, 2.0), Limits(0, 0.0, 60.0), "deadline", 1.5),
    ],
)
def test_what_is_not_is_told_when_it_will_be(
    outlook: Outlook, limits: Limits, reason: str, retry: float | None
) -> None:
    refusal = judge(outlook, limits)
    assert refusal is not None
    assert refusal.reason == reason
    error = refusal.to_error()
    assert error.answer.status == 429
    assert error.retry_after_seconds == (None if retry is None else pytest.approx(retry))


def test_there_may_be_no_limit_but_the_deadline() -> None:
    assert judge(Outlook(10_000, 59.0, 100.0), Limits(0, 0.0, 60.0)) is None
