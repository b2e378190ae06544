"""What the gateway says about itself; who counts or logs it is not its business."""

from typing import Protocol

from msgspec import Struct

from headrace.scheduler.base import GenerationRecord
from headrace.schema.errors import LogLevel
from headrace.schema.events import Usage

FINISHED = "finished"


class CallOpened(Struct, frozen=True, kw_only=True):
    """A generation is about to be submitted.

    Attributes:
        request_id: the generation.
        dialect: the name of the API that was spoken.
        model: a served name; never a name that only the client knows.
        stream: whether the answer is sent as it grows.
        tenant_id: whose it is; empty where there are no accounts.
        key_id: which of the tenant's keys.
    """

    request_id: str
    dialect: str
    model: str
    stream: bool
    tenant_id: str = ""
    key_id: str = ""


class CallEnded(Struct, frozen=True, kw_only=True):
    """A call is over, however it ended. Times are in seconds from its opening.

    Attributes:
        call: what it was.
        status: the HTTP status that was or would have been sent.
        outcome: `finished`, or the code of the failure.
        client_left: whether the client went away before the end.
        usage: token counts, where they are known.
        first_event_seconds: to the first event, if there was one.
        first_token_seconds: to the first text, if there was some.
        total_seconds: to the end.
        record: who ran it; None if nobody was asked.
    """

    call: CallOpened
    status: int
    outcome: str
    client_left: bool
    usage: Usage | None
    first_event_seconds: float | None
    first_token_seconds: float | None
    total_seconds: float
    record: GenerationRecord | None = None


class RequestRefusal(Struct, frozen=True, kw_only=True):
    """A request was answered with an error before a generation was submitted for it.

    Attributes:
        request_id: the id that the client was told, if it was a generation call.
        dialect: the API whose shape the answer has.
        code: the code of the failure.
        status: the HTTP status.
        log_level: how loud it is.
        tenant_id: whose it is, if its key was known.
        key_id: which of the tenant's keys.
    """

    request_id: str | None
    dialect: str
    code: str
    status: int
    log_level: LogLevel
    tenant_id: str = ""
    key_id: str = ""


class GatewayObserver(Protocol):
    """Gets each fact as it happens, on the event loop."""

    def call_opened(self, fact: CallOpened) -> None:
        """A generation is about to be submitted."""
        ...

    def call_ended(self, fact: CallEnded) -> None:
        """A call is over."""
        ...

    def request_refused(self, fact: RequestRefusal) -> None:
        """A request never became a generation."""
        ...
