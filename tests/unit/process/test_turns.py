"""Threads of a process take short turns."""

import sys

from headrace.process.turns import TURN_SECONDS, take_short_turns


def test_turns_are_short() -> None:
    before = sys.getswitchinterval()
    try:
        take_short_turns()
        assert abs(sys.getswitchinterval() - TURN_SECONDS) < TURN_SECONDS / 10
    finally:
        sys.setswitchinterval(before)
