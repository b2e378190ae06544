"""The seam between the gateway and the scheduler, so that a separate scheduler service stays possible."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from headrace.schema.events import Event
from headrace.schema.request import ChatCompletionRequest


class Submission(Struct, frozen=True, kw_only=True):
    """A request with what the client's call says about it.

    Attributes:
        request_id: unique for ever.
        request: what to generate.
        priority: 0 to 9, the higher the sooner; None for the setting.
        timeout_seconds: from now to the deadline; None for the setting.
    """

    request_id: str
    request: ChatCompletionRequest
    priority: int | None = None
    timeout_seconds: float | None = None


class Generation(Protocol):
    """A generation that runs, for its one reader.

    Iterate it for batches of events, each as large as what came since the last. The events of a batch may belong to
    several sequences. The last event of the last batch is terminal, always; the iteration never ends without one.
    Close it (`contextlib.aclosing`): if it has not ended by then, it is cancelled wherever it is.
    """

    @property
    def request_id(self) -> str:
        """The request."""
        ...

    def __aiter__(self) -> "Generation":
        """Return itself."""
        ...

    async def __anext__(self) -> Sequence[Event]:
        """Return the events since the last batch; wait until there are some."""
        ...

    async def aclose(self) -> None:
        """Stop reading, and cancel the generation unless it has ended."""
        ...


class GenerationSource(Protocol):
    """What the gateway needs of a scheduler."""

    async def submit(self, submission: Submission) -> Generation:
        """Accept a request and publish its task.

        Raises:
            HeadraceError: it is not accepted: model_not_found, overloaded, broker_unavailable, shutting_down.
        """
        ...

    def cancel(self, request_id: str) -> bool:
        """Cancel a generation of this replica; its reader gets a `GenerationFailed` with `cancelled`.

        Returns:
            False if there is none that still runs.
        """
        ...

    async def check(self) -> None:
        """Raise HeadraceError, with the reason, unless a request could be accepted now."""
        ...
