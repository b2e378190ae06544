"""Routing's facts as log lines: tries that failed, targets that were set aside. No keys and no prompts are in them."""

import structlog

from headrace.gateway.routing.breaker import BreakerState
from headrace.gateway.routing.facts import FINISHED, TargetTried, TargetTurned
from headrace.schema.errors import ErrorCode

_log = structlog.get_logger("headrace.routing")


class RoutingJournal:
    """A `RoutingObserver` that logs."""

    def target_tried(self, fact: TargetTried) -> None:
        """Write a line for a try that failed; what ended as it should is in the line of its generation."""
        if fact.outcome in (FINISHED, ErrorCode.CANCELLED):
            return
        _log.warning(
            "target failed",
            request_id=fact.request_id,
            route=fact.route,
            target=fact.target,
            outcome=fact.outcome,
            was_told=fact.was_told,
        )

    def target_turned(self, fact: TargetTurned) -> None:
        """Write a line for a target that was set aside, or is well again."""
        match fact.state:
            case BreakerState.OPEN:
                _log.warning("target set aside", target=fact.target, seconds=round(fact.seconds, 3), cause=fact.cause)
            case BreakerState.HALF_OPEN:
                _log.info("target tried again", target=fact.target)
            case BreakerState.CLOSED:
                _log.info("target well again", target=fact.target)
