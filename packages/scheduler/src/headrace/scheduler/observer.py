"""What the scheduler says about itself; who counts or logs it is not its business."""

from typing import Protocol

from msgspec import Struct

from headrace.schema.events import Usage
from headrace.schema.names import Lane


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

    def task_republished(self, model: str) -> None:
        """No worker said anything of an adopted generation, so its task was published again."""
        ...


class QueueObserver(Protocol):
    """Gets what happens in front of the workers, on the event loop. Deployments are named, not served names."""

    def wait_began(self, deployment: str, lane: Lane) -> None:
        """A request waits in a line."""
        ...

    def wait_ended(self, deployment: str, lane: Lane) -> None:
        """It waits there no more: a worker has it, it has ended, or it went up to the other lane."""
        ...

    def wait_estimated(self, deployment: str, lane: Lane, seconds: float) -> None:
        """One that came now, behind all others, would wait for so long."""
        ...

    def task_copied(self, deployment: str, lane: Lane) -> None:
        """A request waited so long in a lane that a copy of its task was published higher."""
        ...

    def request_refused(self, deployment: str, reason: str) -> None:
        """A request was not taken, because of a limit."""
        ...
