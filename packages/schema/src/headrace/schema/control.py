"""Control messages: what the scheduler tells workers outside the task queue."""

from msgspec import Struct


class CancelGeneration(Struct, frozen=True, array_like=True, tag=1):
    """Nobody waits for this generation any more: abort it, or drop it when it is picked up.

    Attributes:
        request_id: the generation.
        deadline: its deadline, Unix seconds: until then a worker must remember that it was cancelled.
        up_to_attempt: cancel attempts up to this number only, because a later one runs elsewhere; 0 cancels all.
    """

    request_id: str
    deadline: float
    up_to_attempt: int = 0


class AttemptGranted(Struct, frozen=True, array_like=True, tag=2):
    """The answer to an `AttemptQuery`: run it, as this attempt.

    Attributes:
        request_id: the generation.
        attempt: the number that every chunk of this try carries.
    """

    request_id: str
    attempt: int


class AttemptRefused(Struct, frozen=True, array_like=True, tag=3):
    """The answer to an `AttemptQuery`: do not run it; it has ended, or can't be continued."""

    request_id: str


ControlMessage = CancelGeneration | AttemptGranted | AttemptRefused
