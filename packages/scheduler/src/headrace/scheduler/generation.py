"""The reader's end of a mailbox."""

from collections.abc import Callable, Sequence

from headrace.scheduler.base import GenerationRecord
from headrace.scheduler.mailbox import Mailbox
from headrace.schema.caller import RateLimits
from headrace.schema.events import Event


class MailboxGeneration:
    """A `Generation` that reads a mailbox.

    Args:
        mailbox: where the events arrive.
        cancel: cancels the generation if it still runs.
    """

    def __init__(self, mailbox: Mailbox, cancel: Callable[[str], bool]) -> None:
        self._mailbox = mailbox
        self._cancel = cancel

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
