"""Messages that stand for nobody any more are counted until they are gone."""

from headrace.scheduler.leftovers import Leftovers
from headrace.scheduler.line import Line
from headrace.schema.levels import CLASSIC_LEVELS


def test_they_go_when_a_worker_drops_them_or_at_the_deadline() -> None:
    line = Line("m", "online", CLASSIC_LEVELS)
    leftovers = Leftovers()
    for request_id, deadline in (("a", 10.0), ("a", 10.0), ("b", 20.0)):
        leftovers.add(request_id, line, deadline=deadline)
    assert line.leftovers == 3
    leftovers.take("a")
    leftovers.take("unknown")
    assert line.leftovers == 2
    leftovers.sweep(10.0)
    assert line.leftovers == 1
    leftovers.take("b")
    leftovers.take("b")
    leftovers.sweep(100.0)
    assert line.leftovers == 0
