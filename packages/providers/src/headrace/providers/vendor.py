"""What is each vendor's own: its words for a request, for an answer, and for an error. All else is the same for all."""

from typing import Protocol

from msgspec import Struct

from headrace.providers.base import ProviderCall
from headrace.providers.failing import VendorError
from headrace.providers.http import HttpCall
from headrace.schema.events import Event, Stage, Usage


class AnswerReader(Protocol):
    """Turns one answer into events, piece by piece.

    Its methods add events to a list, so that what came before a failure is not lost.
    """

    @property
    def is_done(self) -> bool:
        """Whether the terminal event is told; what follows is passed over."""
        ...

    @property
    def input_tokens(self) -> int:
        """Tokens of the prompt, where the vendor has said so by now, else 0."""
        ...

    @property
    def stage(self) -> Stage:
        """How far the generation has come."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What was used up to here, where it is known."""
        ...

    def take(self, data: bytes, events: list[Event]) -> None:
        """Take the data of the next server-sent event, or the whole body of an answer that is none.

        Raises:
            ProviderError: it is an error, or can't be read.
        """
        ...

    def end(self) -> list[Event]:
        """Take the clean end of the body, and return what it completes.

        Raises:
            ProviderError: the answer is not whole.
        """
        ...


class Exchange(Struct, frozen=True, kw_only=True):
    """A call to a vendor, and what reads its answer."""

    http: HttpCall
    reader: AnswerReader


class Vendor(Protocol):
    """Whose API a provider speaks."""

    @property
    def check_path(self) -> str:
        """What can be asked for without cost."""
        ...

    def prepare(self, call: ProviderCall) -> Exchange:
        """Return a call in the vendor's words.

        Raises:
            ProviderError: by the request's fault: it asks for what the vendor does not have.
        """
        ...

    def read_error(self, body: bytes) -> VendorError:
        """Return what the body of an error says. Nothing that a body holds can raise."""
        ...
