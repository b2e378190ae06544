"""What a dialect brings, so that everything behind it is written once."""

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from headrace.gateway.answer import Answer
from headrace.gateway.failure import Failure
from headrace.gateway.retained.wish import RetentionWish
from headrace.scheduler.base import Submission
from headrace.schema.caller import RateLimits
from headrace.schema.events import Event
from headrace.schema.names import Lane
from headrace.schema.request import ChatCompletionRequest


class Dialect(Protocol):
    """A public API, as far as errors go: they are written outside its routes too."""

    @property
    def name(self) -> str:
        """Its name in metrics and logs."""
        ...

    def encode_failure(self, failure: Failure) -> bytes:
        """Return the JSON body of an error answer."""
        ...

    def status_of(self, failure: Failure) -> int:
        """Return the HTTP status of an error answer."""
        ...

    def rate_limit_headers(self, limits: RateLimits) -> dict[str, str]:
        """Return the headers that tell a client where it stands."""
        ...


class Rendering(Protocol):
    """Writes the answer to one call. It is asked either for frames or for a body, never for both."""

    def render_events(self, events: Sequence[Event]) -> bytes:
        """Return the frames of the next events, ready to send; empty if the dialect has no word for them.

        A `GenerationFailed` among them becomes the dialect's error frame.
        """
        ...

    def render_answer(self, answer: Answer) -> bytes:
        """Return the JSON body of a whole answer.

        Raises:
            HeadraceError: the dialect can't tell an answer that ended as this one did.
        """
        ...


class ParsedCall(Struct, frozen=True, kw_only=True):
    """What a dialect read in a body.

    Attributes:
        request: what to generate.
        rendering: makes what writes the answer, when the call has its id.
        stream: whether the answer is sent as it grows.
        priority: what the body says of it; the header says more.
        local_only: whether the body, or what it refers to, says that it must not leave for an outside provider; the
            header may say so too.
        lane: what the body says of it; the header says more.
        retention: whether the body asks for its generation to outlive the call; the headers may ask for more.
    """

    request: ChatCompletionRequest
    rendering: Callable[[Submission], Rendering]
    stream: bool
    priority: int | None = None
    local_only: bool = False
    lane: Lane = "online"
    retention: RetentionWish | None = None


class Order(Struct, frozen=True, kw_only=True):
    """A call as its dialect understood it.

    Attributes:
        submission: what to generate.
        dialect: writes its errors.
        rendering: writes its answer.
        stream: whether the answer is sent as it grows.
    """

    submission: Submission
    dialect: Dialect
    rendering: Rendering
    stream: bool
