"""What a worker says about itself; who counts or logs it is not its business."""

from typing import Protocol

from msgspec import Struct

from headrace.schema.names import Lane


class GenerationRan(Struct, frozen=True, kw_only=True):
    """A task left this worker.

    Attributes:
        request_id: the request.
        model: its model.
        outcome: `finished`, `refused`, `superseded`, `handed back`, or the code of the failure.
        queue_seconds: from submit to when it was picked up and had a place in the engine.
        seconds: from then to its end.
        first_token_seconds: from then to the first token, if there was one.
        output_tokens: tokens that were sampled, by earlier attempts too; 0 where it goes on elsewhere.
        lane: its lane.
        pauses: how often it made way for another one.
    """

    request_id: str
    model: str
    outcome: str
    queue_seconds: float
    seconds: float
    first_token_seconds: float | None
    output_tokens: int
    lane: Lane = "online"
    pauses: int = 0


class GenerationPaused(Struct, frozen=True):
    """A generation of the batch lane made way for an online one.

    Attributes:
        request_id: the request.
        model: its model.
    """

    request_id: str
    model: str


class GenerationResumed(Struct, frozen=True):
    """A generation that was paused runs again.

    Attributes:
        request_id: the request.
        model: its model.
        paused_seconds: how long it waited.
    """

    request_id: str
    model: str
    paused_seconds: float


class IntakeSwitched(Struct, frozen=True, kw_only=True):
    """A queue is consumed again, or is not for the time being.

    Attributes:
        model: whose queue.
        lane: of the queue.
        is_open: whether it is consumed.
    """

    model: str
    lane: Lane
    is_open: bool


class WorkerObserver(Protocol):
    """Gets each fact as it happens, on the event loop."""

    def generation_ran(self, fact: GenerationRan) -> None:
        """A task left this worker."""
        ...

    def generation_paused(self, fact: GenerationPaused) -> None:
        """A generation made way for another one."""
        ...

    def generation_resumed(self, fact: GenerationResumed) -> None:
        """A generation that was paused runs again."""
        ...

    def intake_switched(self, fact: IntakeSwitched) -> None:
        """A queue is consumed again, or is not for the time being."""
        ...


class LoggingObserver:
    """Writes one canonical line for each task, and one for each pause."""

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
            lane=fact.lane,
            pauses=fact.pauses,
        )

    def generation_paused(self, fact: GenerationPaused) -> None:
        """Write the line."""
        self._log.info("generation paused", request_id=fact.request_id, model=fact.model)

    def generation_resumed(self, fact: GenerationResumed) -> None:
        """Write the line."""
        paused_ms = round(fact.paused_seconds * 1000, 1)
        self._log.info("generation resumed", request_id=fact.request_id, model=fact.model, paused_ms=paused_ms)

    def intake_switched(self, fact: IntakeSwitched) -> None:
        """Write the line."""
        self._log.info("intake opened" if fact.is_open else "intake closed", model=fact.model, lane=fact.lane)


class Logger(Protocol):
    """The one method of a structlog logger that is used here."""

    def info(self, event: str, **values: object) -> object:
        """Write a line."""
        ...
