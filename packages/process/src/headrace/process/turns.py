"""How long one thread of a process keeps another from running.

Tasks are taken off the broker by threads of their own and handed to the event loop. Python lets a thread that computes
go on for 5 ms before another one gets its turn, and a thread that takes a task needs several: while the loop is busy,
a task then reaches it tens of milliseconds late, and the loop itself waits as long for a thread that decodes.
"""

import sys

TURN_SECONDS = 0.0005


def take_short_turns() -> None:
    """Have the threads of this process take turns of half a millisecond."""
    sys.setswitchinterval(TURN_SECONDS)
