"""The reader's end of a mailbox."""

from collections.abc import Callable, Sequence

from headrace.scheduler.base import GenerationRecord
from headrace.scheduler.mailbox import Mailbox
from headrace.schema.caller import RateLimits
from headrace.schema.events import Event, GenerationQueued


class MailboxGeneration:
    """A `Generation` that reads a mailbox.

    Args:
        mailbox: where the events arrive.
        cancel: cancels the generation if it still runs.
        stand: says how it waits.
    """

    def __init__(
        self, mailbox: Mailbox, cancel: Callable[[str], bool], stand: Callable[[], GenerationQueued | None]
    ) -> None:
        self._mailbox = mailbox
        self._cancel = cancel
        self._stand = stand

    @property
    def request_id(self) -> str:
        """The request."""
        return self._mailbox.request_id

    @property
    def record(self) -> GenerationRecord:
        """What it was, and has cost so far."""
        mailbox = self._mailbox
        return GenerationRecord(target=mailbox.model, attempts=mailbox.attempt, usage=mailbox.usage_so_far)

    @property
    def rate_limits(self) -> RateLimits | None:
        """None: a scheduler limits nobody."""
        return None

    @property
    def queued(self) -> GenerationQueued | None:
        """How it waits, while no worker has it."""
        return self._stand()

    def __aiter__(self) -> "MailboxGeneration":
        return self

    async def __anext__(self) -> Sequence[Event]:
        events = await self._mailbox.receive()
        if not events:
            raise StopAsyncIteration
        return events

    async def aclose(self) -> None:
        """Cancel the generation unless it has ended."""
        if not self._mailbox.has_ended:
            self._cancel(self._mailbox.request_id)
