"""Control messages: what the scheduler tells workers outside the task queue."""

from msgspec import Struct

from headrace.schema.dead_letter import LostAttempt


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


class ToldSequence(Struct, frozen=True, array_like=True, gc=False):
    """What the reader of a generation was told of one of its sequences by earlier attempts.

    Attributes:
        index: the sequence.
        token_ids: its tokens so far.
        is_finished: it has ended, and is not to be run again.
    """

    index: int
    token_ids: tuple[int, ...]
    is_finished: bool = False


class AttemptGranted(Struct, frozen=True, array_like=True, tag=2):
    """The answer to an `AttemptQuery`: run it, as this attempt.

    Attributes:
        request_id: the generation.
        attempt: the number that every chunk of this try carries.
        told: what earlier attempts have told; the attempt tells it again from the start, and goes on from there.
    """

    request_id: str
    attempt: int
    told: tuple[ToldSequence, ...] = ()


class AttemptRefused(Struct, frozen=True, array_like=True, tag=3):
    """The answer to an `AttemptQuery`: do not run it; it has ended, or can't be continued.

    Attributes:
        request_id: the generation.
        dead_letter: why the task goes to the dead-letter queue; empty where it is just dropped.
        attempts: what was tried before, for the dead letter.
    """

    request_id: str
    dead_letter: str = ""
    attempts: tuple[LostAttempt, ...] = ()


class ResendReplies(Struct, frozen=True, array_like=True, tag=4):
    """Some of what an attempt sent did not arrive: tell it from the start.

    Attributes:
        request_id: the generation.
        attempt: which try; another one is none of the reader's business.
    """

    request_id: str
    attempt: int


class ConfirmAttempt(Struct, frozen=True, array_like=True, tag=5):
    """Another worker was handed this task: answer with `AttemptRunning` if you still run it.

    Attributes:
        request_id: the generation.
        attempt: which try.
    """

    request_id: str
    attempt: int


class AdoptGeneration(Struct, frozen=True, array_like=True, tag=6):
    """The scheduler that waited for this retained generation is gone: another one waits for it now.

    It is told to every worker of the model, again and again until the generation has ended, since a worker that is
    handed the task later must know it too.

    Attributes:
        request_id: the generation.
        reply_address: where everything about it goes from now on.
        deadline: its deadline, Unix seconds: until then a worker must remember the address.
    """

    request_id: str
    reply_address: str
    deadline: float


ControlMessage = CancelGeneration | AttemptGranted | AttemptRefused | ResendReplies | ConfirmAttempt | AdoptGeneration
