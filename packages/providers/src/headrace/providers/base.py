"""What a provider must do. A route knows only this, and never which vendor it talks to."""

from collections.abc import AsyncGenerator
from enum import StrEnum
from typing import Protocol

from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError
from headrace.schema.events import Event
from headrace.schema.request import ChatCompletionRequest


class ProviderCall(Struct, frozen=True, kw_only=True):
    """One generation for a provider.

    Attributes:
        request_id: ours; sent along where the vendor has a place for it, so that both logs can be joined.
        request: what to generate; its model is already the vendor's name for it.
        timeout_seconds: from the start of the call to the deadline.
    """

    request_id: str
    request: ChatCompletionRequest
    timeout_seconds: float


class Fault(StrEnum):
    """Whose fault a provider's failure is, which decides what a route does next.

    Attributes:
        REQUEST: the request can't be answered as it is, by this provider at least: no retry, and no sign of ill health.
            So too when its own time is over.
        REFUSED: our key, our quota or our rate there: another provider may take it.
        UPSTREAM: it is ill: try again, try another, and count it.
    """

    REQUEST = "request"
    REFUSED = "refused"
    UPSTREAM = "upstream"


class ProviderError(HeadraceError):
    """A provider's failure before its first event.

    Attributes:
        fault: whose.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str,
        *,
        fault: Fault,
        param: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(code, message, param=param, retry_after_seconds=retry_after_seconds)
        self.fault = fault


class Provider(Protocol):
    """An upstream that turns a request into events."""

    @property
    def name(self) -> str:
        """Its name in the settings, in routes, metrics and logs."""
        ...

    def generate(self, call: ProviderCall) -> AsyncGenerator[list[Event], None]:
        """Run a call and yield its events in order, in lists as they came.

        The first list begins with `GenerationStarted`, whose worker is `provider:NAME`. It comes with the first piece
        of the vendor's answer and not with its headers, so that a vendor that accepts a call and then fails, or says
        nothing, still fails by an exception, and the call can go elsewhere. Each sequence then starts, grows and
        finishes, and the last event is terminal: `GenerationFinished` with the usage (zeros where the vendor tells
        none), or, once the first list is out, `GenerationFailed`. An answer that breaks off never looks whole.
        Reasoning and log probabilities are told only where `output` asks for them; timings are left to the caller.

        Closing the iterator early ends the call at the vendor at once: close it (`contextlib.aclosing`) wherever the
        loop over it may end early.

        Raises:
            ProviderError: before the first list only.
        """
        ...

    async def check(self) -> None:
        """Raise ProviderError, with the reason, unless it can be reached now."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...
