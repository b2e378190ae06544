"""One reader of a retained generation: it may leave and come again, and nothing happens to the generation."""

from collections.abc import Callable, Sequence

from msgspec import structs

from headrace.scheduler.base import Generation, GenerationRecord, Submission
from headrace.schema.caller import RateLimits
from headrace.schema.events import Event, GenerationQueued, SequenceDelta
from headrace.schema.request import OutputFlags
from headrace.transport.retention import EventLog

UNKNOWN_RECORD = GenerationRecord(route="")
"""Of a generation of which it is not settled, or not known here, who answers."""


class RetainedReader:
    """A `Generation` that reads a log from its start.

    It yields an event for each event of the log, so that places can be counted; what was not asked for is taken out of
    them.

    Args:
        log: the events.
        output: what was asked for.
        on_close: called once, when it reads no more.
        generation: what is read, if it runs in this process.
        record: what is known of it, if it does not.
        rate_limits: where its caller stands.
        stored: how many events its store had when it was found, which may be ahead of the log.
    """

    def __init__(
        self,
        log: EventLog,
        *,
        output: OutputFlags,
        on_close: Callable[[EventLog], None],
        generation: Generation | None = None,
        record: GenerationRecord = UNKNOWN_RECORD,
        rate_limits: RateLimits | None = None,
        stored: int = 0,
    ) -> None:
        self._log = log
        self._output = output
        self._on_close: Callable[[EventLog], None] | None = on_close
        self._generation = generation
        self._record = record
        self._rate_limits = rate_limits
        self._stored = stored
        self._position = 0

    @property
    def request_id(self) -> str:
        """The generation."""
        return self._log.request_id

    @property
    def record(self) -> GenerationRecord:
        """What it was, as far as that is known in this process."""
        return self._record if self._generation is None else self._generation.record

    @property
    def rate_limits(self) -> RateLimits | None:
        """Where its caller stands, if it began the generation."""
        return self._rate_limits

    @property
    def queued(self) -> GenerationQueued | None:
        """How it waits, if that is known in this process."""
        return None if self._generation is None else self._generation.queued

    def __aiter__(self) -> "RetainedReader":
        return self

    async def __anext__(self) -> Sequence[Event]:
        events = await self._log.read(self._position)
        if not events:
            raise StopAsyncIteration
        self._position += len(events)
        return [self._show(event) for event in events]

    def _show(self, event: Event) -> Event:
        if type(event) is not SequenceDelta:
            return event
        output = self._output
        token_ids = event.token_ids if output.token_ids else None
        reasoning = event.reasoning if output.reasoning else ""
        return structs.replace(
            event,
            token_ids=token_ids,
            reasoning=reasoning,
            thought_signature=event.thought_signature if output.reasoning and output.signatures else None,
            text_signature=event.text_signature if output.signatures else None,
        )

    @property
    def count(self) -> int:
        """How many events of the stream there are by now."""
        return self._log.shown

    @property
    def told(self) -> int:
        """How many events anybody can have been told by now."""
        return max(self._log.shown, self._stored)

    def so_far(self) -> Sequence[Event]:
        """Return what there is by now, from the start."""
        return [self._show(event) for event in self._log.events[: self._log.shown]]

    @property
    def has_ended(self) -> bool:
        """Whether the generation has ended, which is more than that nothing more is told here."""
        return self._log.has_ended

    def has_nothing_after(self, count: int) -> bool:
        """Tell whether the generation has ended, and no event comes after the first `count`."""
        return self._log.has_ended and count >= len(self._log.events)

    async def aclose(self) -> None:
        """Read no more."""
        if self._on_close is not None:
            self._on_close(self._log)
            self._on_close = None


class OpenedSource:
    """Hands out one reader, where a call asks for its generation.

    Attributes:
        reader: of the call.
    """

    def __init__(self, reader: RetainedReader) -> None:
        self.reader = reader

    async def submit(self, submission: Submission) -> RetainedReader:  # noqa: ARG002 - it was submitted before
        """Return the reader."""
        return self.reader
