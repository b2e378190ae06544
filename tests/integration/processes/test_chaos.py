"""A short run of the chaos suite: some kinds of fault, in the order that its seed says."""

import pytest

from headrace.schema.settings.services import QueueType
from tests.chaos.faults import FAULTS
from tests.chaos.run import run

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]

# A host is cut off until its heartbeats fail, which takes as long as all of this; test_cut_off has it.
QUICK = tuple(name for name in FAULTS if name != "cut-off-host")


def test_no_answer_is_lost_doubled_or_torn_while_things_break(queue_type: QueueType) -> None:
    report = run(requests=90, seed=31, faults=QUICK, pause_seconds=0.5, queue_type=queue_type)
    assert report.requests == 90
    assert report.bad == {}, report
    assert report.faults
