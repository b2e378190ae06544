"""The gateway's facts as log lines: one for each generation, one for each request that did not become one.

Neither prompts nor answers nor keys are ever in them, and nothing that a client wrote but the name of a served model.
"""

import structlog

from headrace.gateway.facts import FINISHED, CallEnded, CallOpened, RequestRefusal
from headrace.schema.errors import LogLevel, answer_for

_log = structlog.get_logger("headrace.gateway")


class Journal:
    """A `GatewayObserver` that logs."""

    def call_opened(self, fact: CallOpened) -> None:
        """Say nothing: the one line of a generation is written when it ends."""

    def call_ended(self, fact: CallEnded) -> None:
        """Write the line of a generation."""
        level: LogLevel = "info" if fact.outcome == FINISHED else answer_for(fact.outcome).log_level
        _write(
            level,
            "generation ended",
            request_id=fact.call.request_id,
            dialect=fact.call.dialect,
            model=fact.call.model,
            stream=fact.call.stream,
            status=fact.status,
            outcome=fact.outcome,
            input_tokens=fact.usage.input_tokens if fact.usage else None,
            output_tokens=fact.usage.output_tokens if fact.usage else None,
            ttft_ms=_milliseconds(fact.first_token_seconds),
            total_ms=_milliseconds(fact.total_seconds),
            client_left=fact.client_left,
            route=fact.record.route if fact.record else None,
            target=fact.record.target if fact.record else None,
            attempts=fact.record.attempts if fact.record else None,
            **_whose(fact.call),
        )

    def request_refused(self, fact: RequestRefusal) -> None:
        """Write a line for a request that was refused."""
        _write(
            fact.log_level,
            "request refused",
            request_id=fact.request_id,
            dialect=fact.dialect,
            status=fact.status,
            code=fact.code,
            **_whose(fact),
        )


def _whose(fact: CallOpened | RequestRefusal) -> dict[str, str]:
    """Return whose it is; nothing where there are no accounts."""
    return {"tenant_id": fact.tenant_id, "key_id": fact.key_id} if fact.tenant_id else {}


def _write(level: LogLevel, event: str, **values: str | float | bool | None) -> None:
    match level:
        case "info":
            _log.info(event, **values)
        case "warning":
            _log.warning(event, **values)
        case "error":
            _log.error(event, **values)


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
