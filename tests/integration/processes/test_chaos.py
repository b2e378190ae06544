"""A short run of the chaos suite: as many kinds of fault as there is time for."""

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.run import run

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]


def test_no_answer_is_lost_doubled_or_torn_while_things_break() -> None:
    report = run(requests=150, seed=7, faults=tuple(FAULTS), pause_seconds=1.0)
    assert report.requests == 150
    assert report.bad == {}, report
    assert report.faults
