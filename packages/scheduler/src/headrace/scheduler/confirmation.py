"""A question to the worker that runs a task, because another one was handed it too."""

import asyncio
from collections.abc import Callable


class Confirmation:
    """A running worker was asked whether it still runs an attempt, because another one was handed the task.

    Args:
        worker_id: who was asked.
        asker_id: who wants to run it.
        seconds: how long to wait for the answer.
        grant: called with the asker when the one that was asked is gone.
    """

    def __init__(self, worker_id: str, asker_id: str, *, seconds: float, grant: Callable[[str], None]) -> None:
        self.worker_id = worker_id
        self._asker_id = asker_id
        self._grant = grant
        self._timer = asyncio.get_running_loop().call_later(seconds, self.lose_worker)

    def lose_worker(self) -> None:
        """The worker is gone: the one that asked may run it."""
        self.cancel()
        self._grant(self._asker_id)

    def cancel(self) -> None:
        """The worker runs it, or nobody needs to any more."""
        self._timer.cancel()
