"""A short run of the chaos suite: every kind of fault once or so."""

import pytest

from headrace.schema.settings.services import QueueType
from tests.chaos.faults import FAULTS
from tests.chaos.run import BAD, run

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]


def test_no_answer_is_lost_doubled_or_torn_while_things_break(queue_type: QueueType) -> None:
    report = run(requests=150, seed=7, faults=tuple(FAULTS), pause_seconds=1.5, queue_type=queue_type)
    assert report.requests == 150
    assert {name: getattr(report, name) for name in BAD} == dict.fromkeys(BAD, 0), report
    assert report.faults
