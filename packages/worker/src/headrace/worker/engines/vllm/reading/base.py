"""What a reader does."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol

from msgspec import Struct

from headrace.schema.events import ToolCallDelta


class Piece(Struct, frozen=True):
    """What a step of a sequence says, in this order.

    Attributes:
        reasoning: what the model thought.
        text: what it answered.
        calls: what its tool calls grew by.
        is_thinking: it has not come to its answer yet.
    """

    reasoning: str = ""
    text: str = ""
    calls: tuple[ToolCallDelta, ...] = ()
    is_thinking: bool = False


class Reader(Protocol):
    """Reads one sequence."""

    def read(self, text: str, token_ids: Sequence[int], *, is_last: bool) -> Piece:
        """Take what the sequence grew by, and return what that says. Text may be held back, and is never lost.

        Args:
            text: new text.
            token_ids: new tokens.
            is_last: nothing comes after this.
        """
        ...

    @property
    def has_calls(self) -> bool:
        """Whether there was a tool call."""
        ...

    @property
    def reasoning_tokens(self) -> int:
        """Tokens that were reasoning, up to here."""
        ...


class CallIds(Struct, frozen=True):
    """Makes the ids of a sequence's calls: a second attempt at the same request makes the same ones.

    Attributes:
        request_id: the request.
        sequence: the sequence.
    """

    request_id: str
    sequence: int

    def make(self, call: int) -> str:
        """Return the id of a call, by its place in the sequence."""
        digest = sha256(f"{self.request_id}/{self.sequence}/{call}".encode()).hexdigest()
        return f"call_{digest[:24]}"
