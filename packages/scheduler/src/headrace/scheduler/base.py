"""The seam between the gateway and the scheduler, so that a separate scheduler service stays possible."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from headrace.schema.caller import ANONYMOUS, Caller, RateLimits
from headrace.schema.events import Event, GenerationQueued, Usage
from headrace.schema.names import Lane
from headrace.schema.request import ChatCompletionRequest


class Submission(Struct, frozen=True, kw_only=True):
    """A request with what the client's call says about it.

    Attributes:
        request_id: unique for ever.
        request: what to generate.
        priority: 0 to 9, the higher the sooner; None for the setting.
        timeout_seconds: from now to the deadline; None for the setting.
        lane: the batch lane takes what the online lane leaves over.
        caller: whose it is.
        local_only: it never leaves for an outside provider, whatever its caller may do.
        retained: it goes on without its reader, and may be taken up again by its id.
    """

    request_id: str
    request: ChatCompletionRequest
    priority: int | None = None
    timeout_seconds: float | None = None
    lane: Lane = "online"
    caller: Caller = ANONYMOUS
    local_only: bool = False
    retained: bool = False


OWN_ROUTE = "own"
"""The route of a generation that runs on our own workers; a provider's is `provider:NAME`."""


class GenerationRecord(Struct, frozen=True, kw_only=True):
    """What is to be known about a generation when it is over, for the bill and for the log.

    Attributes:
        route: who ran it: `own`, or `provider:NAME`.
        target: the model that ran it: a deployment of ours, or the provider's name for its model.
        attempts: tries on workers, or calls of providers.
        usage: what it has cost so far, counted from what was told where nobody said it.
        retry_after_seconds: when the same request may be taken, where it failed and that is known.
        task_id: the id that our workers know it by, where that is another one than its own.
    """

    route: str = OWN_ROUTE
    target: str = ""
    attempts: int = 1
    usage: Usage = Usage(0, 0)
    retry_after_seconds: float | None = None
    task_id: str = ""


class Adoption(Struct, frozen=True, kw_only=True):
    """A retained generation whose gateway is gone, as far as it is known.

    Attributes:
        submission: what was asked for.
        submitted_at: when, Unix seconds.
        deadline: when it is worth nothing any more, Unix seconds.
        events: what its readers may have been told, from the start; token ids and reasoning are among them, whether
            they were asked for or not. None of them is terminal.
        record: what was known of it last.
    """

    submission: Submission
    submitted_at: float
    deadline: float
    events: tuple[Event, ...] = ()
    record: GenerationRecord = GenerationRecord()


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

    @property
    def record(self) -> GenerationRecord:
        """What it was; final once the terminal event was read or it was closed."""
        ...

    @property
    def rate_limits(self) -> RateLimits | None:
        """Where its caller stands, if it has limits; known as soon as it is accepted."""
        ...

    @property
    def queued(self) -> GenerationQueued | None:
        """How it waits for a worker, as of now; None where it does not, or where that is not known."""
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

    async def adopt(self, adoption: Adoption) -> Generation:
        """Go on with a generation that another gateway began, which is gone.

        The generation yields what its readers have not been told yet, and its record tells all that it has cost.

        Raises:
            HeadraceError: it can't be gone on with: `provider_unavailable` where a provider ran it, or as in `submit`.
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
