"""What is known about a task that is not tried again.

It travels with the task, as JSON in one header of its message, so that people can read it in the broker's own console
as well.
"""

import msgspec
from msgspec import Struct

HEADER = "headrace-dead-letter"


class LostAttempt(Struct, frozen=True, array_like=True):
    """One attempt at a generation that came to nothing.

    Attributes:
        attempt: its number, counted from 1.
        worker_id: who ran it; empty where nobody ever said.
        granted_at: when the scheduler let it run, or heard of it, Unix seconds; 0 where it never did.
        how: how it was lost, in words.
    """

    attempt: int
    worker_id: str
    granted_at: float
    how: str


class DeadLetter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a task is a dead letter.

    Attributes:
        reason: why it is not tried again.
        died_at: when it became one, Unix seconds.
        attempts: what was tried before, the oldest first; none for a task that could not even be decoded.
        retries: how often somebody took it out of the dead letters to try it again.
    """

    reason: str
    died_at: float
    attempts: tuple[LostAttempt, ...] = ()
    retries: int = 0

    def after(self, earlier: "DeadLetter | None") -> "DeadLetter":
        """Return it with the history of the time when it was a dead letter before."""
        if earlier is None:
            return self
        return msgspec.structs.replace(self, attempts=earlier.attempts + self.attempts, retries=earlier.retries)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(DeadLetter)


def encode_dead_letter(letter: DeadLetter) -> str:
    """Return the header of a dead letter."""
    return _encoder.encode(letter).decode()


def decode_dead_letter(header: object) -> DeadLetter | None:
    """Read the header of a message; None where it has none that can be read."""
    if not isinstance(header, str | bytes):
        return None
    try:
        return _decoder.decode(header)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
