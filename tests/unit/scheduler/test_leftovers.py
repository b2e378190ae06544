"""Messages that stand for nobody any more are counted until they are gone."""

from headrace.scheduler.leftovers import Leftovers
from headrace.scheduler.line import Line
from headrace.schema.levels import CLASSIC_LEVELS
from headrace.transport.base import QueueDepth


class _Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_they_go_when_a_worker_drops_them_or_at_the_deadline() -> None:
    line, clock = Line("m", "online", CLASSIC_LEVELS), _Clock()
    leftovers = Leftovers(clock)
    for request_id, deadline in (("b", 20.0), ("a", 10.0), ("a", 10.0)):
        leftovers.add(request_id, line, deadline=deadline)
    assert line.leftovers == 3
    leftovers.take("a")
    leftovers.take("unknown")
    assert line.leftovers == 2
    clock.now = 10.0
    leftovers.sweep()
    assert line.leftovers == 1
    leftovers.take("b")
    leftovers.take("b")
    clock.now = 100.0
    leftovers.sweep()
    assert line.leftovers == 0


def test_there_are_never_more_than_the_queue_has() -> None:
    line = Line("m", "online", CLASSIC_LEVELS)
    leftovers = Leftovers(_Clock())
    for number in range(5):
        leftovers.add(f"r{number}", line, deadline=10.0)
    line.note_depth(QueueDepth(2, 1))
    assert line.leftovers == 2
    for number in range(5):
        leftovers.take(f"r{number}")
    assert line.leftovers == 0
