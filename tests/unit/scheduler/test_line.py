"""What a line expects of the wait, from its own requests and from how the queue stands for all gateways."""

import pytest

from headrace.scheduler.drain import SETTLE_SECONDS
from headrace.scheduler.line import Line, Ticket
from headrace.scheduler.mailbox import Mailbox
from headrace.schema.levels import CLASSIC_LEVELS
from headrace.transport.base import QueueDepth

LEVEL = CLASSIC_LEVELS.level_of(5, 7)


def enter(line: Line, now: float = 0.0, *, tenant: str = "", priority: int = 5) -> Ticket:
    ticket = Ticket(Mailbox("r", model="m"), tenant=tenant, priority=priority, asked=False, now=now)
    ticket.share = line.find_share(tenant, priority)
    line.add(ticket, now)
    return ticket


def pick_up(line: Line, now: float) -> None:
    ticket = line.tickets()[-1]
    line.note_pickup(ticket, now)
    line.remove(ticket, now)


def moving_line(*, waiting: int, every: float = 0.5, pickups: int = 20) -> tuple[Line, float]:
    """A line that a worker has served at an even pace, and in which so many still wait."""
    line = Line("m", "online", CLASSIC_LEVELS)
    for _ in range(waiting + pickups + 1):
        enter(line)
    pick_up(line, 0.0)
    for number in range(1, pickups + 1):
        pick_up(line, SETTLE_SECONDS + number * every)
    return line, SETTLE_SECONDS + pickups * every


def test_positions_are_in_the_order_of_the_broker() -> None:
    line = Line("m", "online", CLASSIC_LEVELS)
    flood = [enter(line, tenant="flood") for _ in range(3)]
    few, urgent = enter(line, tenant="few"), enter(line, tenant="flood", priority=6)
    line.walk(0.0)
    assert [ticket.position for ticket in (urgent, flood[0], few, flood[1], flood[2])] == [0, 1, 2, 3, 4]


def test_the_wait_is_those_ahead_by_the_pace() -> None:
    line, now = moving_line(waiting=9)
    assert line.expect_wait(line.count_ahead(LEVEL), LEVEL, now) == pytest.approx(5.0)
    assert line.expect_wait(0, LEVEL, now) == pytest.approx(0.5)


def test_nobody_waits_where_the_line_is_empty() -> None:
    line, now = moving_line(waiting=0)
    assert line.expect_wait(0, LEVEL, now) == 0.0


def test_nothing_is_expected_while_nothing_is_known() -> None:
    line = Line("m", "online", CLASSIC_LEVELS)
    for _ in range(50):
        enter(line)
    line.note_depth(QueueDepth(500, 1))
    assert line.expect_wait(50, LEVEL, 10.0) is None


def test_those_of_other_gateways_count() -> None:
    line, now = moving_line(waiting=10)
    line.note_depth(QueueDepth(100, 1))
    assert line.waiting == 100
    # A tenth of the queue is ours, so ten times as many are taken as we see; the wait is the same for all.
    assert line.drain_per_second(now) == pytest.approx(20.0)
    assert line.expect_wait(10, LEVEL, now) == pytest.approx(5.5)


def test_where_we_have_none_the_queue_of_the_others_is_what_waits() -> None:
    line, now = moving_line(waiting=10)
    line.note_depth(QueueDepth(100, 1))
    for _ in range(10):
        line.remove(line.tickets()[-1], now)
    line.note_depth(QueueDepth(200, 1))
    assert line.expect_wait(0, LEVEL, now) == pytest.approx(201 / 20.0)


def test_what_others_have_is_no_reason_to_expect_more_than_others_have_just_waited() -> None:
    line = Line("m", "online", CLASSIC_LEVELS)
    now = 0.0
    keeper = enter(line, priority=0)
    for number in range(30):
        now = number * 0.5
        line.note_pickup(enter(line, now - 0.01), now)
        line.remove(next(ticket for ticket in line.tickets() if ticket is not keeper), now)
    line.note_depth(QueueDepth(10_000, 1))
    # Ten thousand wait, but those of this priority go at once: the others' must be of lower ones.
    assert line.expect_wait(0, LEVEL, now) == pytest.approx(0.5)


def test_what_is_left_over_of_copies_is_not_taken_for_somebody() -> None:
    line, _ = moving_line(waiting=10)
    line.leftovers = 5
    line.note_depth(QueueDepth(15, 1))
    assert line.waiting == 10


def test_all_is_forgotten_when_there_are_no_workers() -> None:
    line, now = moving_line(waiting=10)
    line.note_depth(QueueDepth(10, 0))
    assert line.expect_wait(10, LEVEL, now) is None
