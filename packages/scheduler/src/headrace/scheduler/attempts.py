"""Who may run a task that was handed to another worker: a worker asks, and the one that ran it is asked first.

A broker that lost a connection hands out again what was running on it, also where the worker lives on and streams by
another way. So the worker that ran the task is asked whether it still does. While it does, the new one waits and asks
again; once it is known to be gone, or does not answer, the new one is granted the next attempt.
"""

import asyncio
from collections.abc import Callable

from headrace.scheduler.history import GONE, SILENT

# An answer takes milliseconds; a worker whose loop is blocked for longer is overtaken, and fenced off.
CONFIRM_SECONDS = 0.5
# After the broker was away, its other clients may need a moment to connect again as well.
CONFIRM_AFTER_OUTAGE_SECONDS = 5.0
OUTAGE_REMEMBERED_SECONDS = 10.0


class Confirmation:
    """A running worker was asked whether it still runs an attempt, because another one was handed the task.

    Args:
        worker_id: who was asked.
        asker_id: who wants to run it.
        seconds: how long to wait for the answer.
        grant: called with the asker, and with how the one that was asked was lost.
    """

    def __init__(self, worker_id: str, asker_id: str, *, seconds: float, grant: Callable[[str, str], None]) -> None:
        self.worker_id = worker_id
        self._asker_id = asker_id
        self._grant = grant
        self._timer = asyncio.get_running_loop().call_later(seconds, self.lose_worker, SILENT)

    def lose_worker(self, how: str = GONE) -> None:
        """The worker is gone: the one that asked may run it."""
        self.cancel()
        self._grant(self._asker_id, how)

    def cancel(self) -> None:
        """The worker runs it, or nobody needs to any more."""
        self._timer.cancel()
