"""A short run of the chaos suite: every kind of fault once or so."""

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.run import BAD, run

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]


def test_no_answer_is_lost_doubled_or_torn_while_things_break() -> None:
    report = run(requests=150, seed=7, faults=tuple(FAULTS), pause_seconds=1.5)
    assert report.requests == 150
    assert {name: getattr(report, name) for name in BAD} == dict.fromkeys(BAD, 0), report
    assert report.faults
