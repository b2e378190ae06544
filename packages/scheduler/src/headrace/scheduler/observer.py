"""What the scheduler says about itself; who counts or logs it is not its business."""

from typing import Protocol

from msgspec import Struct

from headrace.schema.events import Usage


class GenerationEnded(Struct, frozen=True, kw_only=True):
    """A generation left the scheduler.

    Attributes:
        request_id: the request.
        model: its model.
        outcome: `finished`, or the code of the failure.
        attempts: how many attempts it took.
        seconds: from submit to the terminal event.
        usage: token counts, where they are known.
    """

    request_id: str
    model: str
    outcome: str
    attempts: int
    seconds: float
    usage: Usage | None


class SchedulerObserver(Protocol):
    """Gets each fact as it happens, on the event loop."""

    def generation_accepted(self, model: str) -> None:
        """A request was accepted."""
        ...

    def generation_ended(self, fact: GenerationEnded) -> None:
        """A generation has its terminal event."""
        ...

    def attempt_opened(self, model: str) -> None:
        """A redelivered task was granted a further attempt."""
        ...
