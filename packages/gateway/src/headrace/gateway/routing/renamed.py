"""Generations that our workers know by another id than their readers do: a second try of ours, adopted."""

from collections.abc import Callable, Sequence

from msgspec import structs

from headrace.scheduler.base import Generation, GenerationRecord
from headrace.schema.caller import RateLimits
from headrace.schema.events import Event, GenerationQueued, is_terminal


class RenamedGeneration:
    """A `Generation` that is another one, by the id of its request.

    Args:
        own: what our workers run.
        request_id: what its readers know.
        on_end: called when it has ended or is closed, at least once.
    """

    def __init__(self, own: Generation, *, request_id: str, on_end: Callable[[], object]) -> None:
        self._own = own
        self._request_id = request_id
        self._on_end = on_end

    @property
    def request_id(self) -> str:
        """The request."""
        return self._request_id

    @property
    def record(self) -> GenerationRecord:
        """What it was, with the id that our workers know."""
        return structs.replace(self._own.record, task_id=self._own.request_id)

    @property
    def rate_limits(self) -> RateLimits | None:
        """Where its caller stands."""
        return self._own.rate_limits

    @property
    def queued(self) -> GenerationQueued | None:
        """How it waits for a worker, while it does."""
        return self._own.queued

    def __aiter__(self) -> "RenamedGeneration":
        return self

    async def __anext__(self) -> Sequence[Event]:
        events = await anext(self._own)
        if is_terminal(events[-1]):
            self._on_end()
        return events

    async def aclose(self) -> None:
        """Stop reading, and cancel it unless it has ended."""
        await self._own.aclose()
        self._on_end()
