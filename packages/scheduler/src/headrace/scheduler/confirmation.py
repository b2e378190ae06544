"""A question to the worker that runs a task, because another one was handed it too."""

import asyncio
from collections.abc import Callable

# The broker may hand out the tasks of a dead worker before it knows that nobody hears the question: it is asked again.
ASK_AGAIN_SECONDS = 0.05


class Confirmation:
    """A running worker is asked whether it still runs an attempt, because another one was handed the task.

    Args:
        worker_id: who is asked.
        asker_id: who wants to run it.
        seconds: how long to wait for the answer.
        ask: asks the worker.
        grant: called with the asker when the one that was asked is gone.
    """

    def __init__(
        self,
        worker_id: str,
        asker_id: str,
        *,
        seconds: float,
        ask: Callable[[], None],
        grant: Callable[[str], None],
    ) -> None:
        self.worker_id = worker_id
        self._asker_id = asker_id
        self._ask = ask
        self._grant = grant
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(seconds, self.lose_worker)
        self._again: asyncio.TimerHandle | None = None

    def ask(self) -> None:
        """Ask, now and again until there is an answer."""
        self._again = self._loop.call_later(ASK_AGAIN_SECONDS, self.ask)
        self._ask()

    def lose_worker(self) -> None:
        """The worker is gone: the one that asked may run it."""
        self.cancel()
        self._grant(self._asker_id)

    def cancel(self) -> None:
        """The worker runs it, or nobody needs to any more."""
        self._timer.cancel()
        if self._again is not None:
            self._again.cancel()
