"""What routing says about itself; who counts or logs it is not its business."""

from typing import Protocol

from msgspec import Struct

from headrace.gateway.routing.breaker import BreakerState

FINISHED = "finished"


class TargetTried(Struct, frozen=True, kw_only=True):
    """One try at a target is over.

    Attributes:
        request_id: the request.
        route: the served name that was asked for.
        target: who was tried.
        outcome: `finished`, or the code of the failure.
        was_told: whether the client was told anything of its answer; nothing follows such a try.
        first_token_seconds: from the try's begin to the first text, if there was some.
    """

    request_id: str
    route: str
    target: str
    outcome: str
    was_told: bool
    first_token_seconds: float | None


class TargetTurned(Struct, frozen=True, kw_only=True):
    """A target at a provider was set aside, is tried again, or is well again.

    Attributes:
        target: who.
        state: whether calls pass.
        seconds: how long none will, where none do.
        cause: what set it aside: `failures`, or `refusal` where the provider asked for a pause.
    """

    target: str
    state: BreakerState
    seconds: float = 0.0
    cause: str = "failures"


class RoutingObserver(Protocol):
    """Gets each fact as it happens, on the event loop."""

    def target_tried(self, fact: TargetTried) -> None:
        """A try is over."""
        ...

    def target_turned(self, fact: TargetTurned) -> None:
        """Calls pass to a target, or pass no more."""
        ...
