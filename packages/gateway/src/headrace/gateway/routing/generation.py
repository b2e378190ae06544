"""The reader's end of a run."""

from collections.abc import Sequence

from headrace.gateway.routing.run import Run
from headrace.scheduler.base import GenerationRecord
from headrace.schema.caller import RateLimits
from headrace.schema.errors import ErrorCode
from headrace.schema.events import Event, GenerationQueued


class RoutedGeneration:
    """A `Generation` that reads a run.

    Args:
        run: what asks the targets.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    @property
    def request_id(self) -> str:
        """The request."""
        return self._run.mailbox.request_id

    @property
    def record(self) -> GenerationRecord:
        """Who answers, and what it has cost so far."""
        return self._run.record

    @property
    def rate_limits(self) -> RateLimits | None:
        """None: a route limits nobody."""
        return None

    @property
    def queued(self) -> GenerationQueued | None:
        """How it waits for a worker of ours, while it does."""
        return self._run.queued

    def __aiter__(self) -> "RoutedGeneration":
        return self

    async def __anext__(self) -> Sequence[Event]:
        events = await self._run.mailbox.receive()
        if not events:
            raise StopAsyncIteration
        return events

    async def aclose(self) -> None:
        """Cancel the run unless it has ended; the target is told at once."""
        if not self._run.mailbox.has_ended:
            self._run.end(ErrorCode.CANCELLED, "the request was cancelled")
