"""What a worker says about itself; who counts or logs it is not its business."""

from typing import Protocol

from msgspec import Struct


class GenerationRan(Struct, frozen=True, kw_only=True):
    """A task left this worker.

    Attributes:
        request_id: the request.
        model: its model.
        outcome: `finished`, `refused`, `superseded`, `handed back`, or the code of the failure.
        queue_seconds: from submit to pickup.
        seconds: from pickup to its end.
        first_token_seconds: from pickup to the first token, if there was one.
        output_tokens: tokens that were sampled, if it finished.
    """

    request_id: str
    model: str
    outcome: str
    queue_seconds: float
    seconds: float
    first_token_seconds: float | None
    output_tokens: int


class WorkerObserver(Protocol):
    """Gets each fact as it happens, on the event loop."""

    def generation_ran(self, fact: GenerationRan) -> None:
        """A task left this worker."""
        ...


class LoggingObserver:
    """Writes one canonical line for each task."""

    def __init__(self, log: "Logger") -> None:
        self._log = log

    def generation_ran(self, fact: GenerationRan) -> None:
        """Write the line."""
        self._log.info(
            "generation ran",
            request_id=fact.request_id,
            model=fact.model,
            outcome=fact.outcome,
            queue_ms=round(fact.queue_seconds * 1000, 1),
            total_ms=round(fact.seconds * 1000, 1),
            first_token_ms=None if fact.first_token_seconds is None else round(fact.first_token_seconds * 1000, 1),
            output_tokens=fact.output_tokens,
        )


class Logger(Protocol):
    """The one method of a structlog logger that is used here."""

    def info(self, event: str, **values: object) -> object:
        """Write a line."""
        ...
