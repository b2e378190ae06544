"""Yes or no at the door: whether a request is worth queueing, and if not, when it will be.

Decided purely. While nothing is known of the workers everything is taken, and waits up to its deadline.
"""

from typing import Literal

from msgspec import Struct

from headrace.schema.errors import ErrorCode, HeadraceError

Reason = Literal["max_in_flight", "max_waiting", "max_wait", "deadline"]


class Outlook(Struct, frozen=True):
    """What a request would find.

    Attributes:
        waiting: how many wait for its deployment, of all gateways together.
        wait_seconds: how long it would wait; None while that is not known.
        drain_per_second: how many of those who wait are taken in a second; None while that is not known.
    """

    waiting: int
    wait_seconds: float | None
    drain_per_second: float | None


class Limits(Struct, frozen=True):
    """What is too much.

    Attributes:
        waiting: how many may wait; 0 for any number.
        wait_seconds: how long a request may have to wait; 0 for any time.
        timeout_seconds: how long the request lives.
    """

    waiting: int
    wait_seconds: float
    timeout_seconds: float


class Refusal(Struct, frozen=True):
    """Why a request is not taken.

    Attributes:
        reason: which limit.
        message: for the client.
        retry_after_seconds: when it may be taken, if nothing else comes; None where that is not known.
    """

    reason: Reason
    message: str
    retry_after_seconds: float | None

    def to_error(self) -> HeadraceError:
        """Return it as a failure."""
        return HeadraceError(ErrorCode.OVERLOADED, self.message, retry_after_seconds=self.retry_after_seconds)


def judge(outlook: Outlook, limits: Limits) -> Refusal | None:
    """Return why a request is not taken, or None."""
    if limits.waiting and outlook.waiting >= limits.waiting:
        message = "as many requests as may wait for this model do; try again later"
        return Refusal("max_waiting", message, retry_when_fewer(outlook, limits.waiting))
    wait = outlook.wait_seconds
    if wait is None:
        return None
    # A second of waiting is gone in a second: then the wait is as long as it may be.
    if limits.wait_seconds and wait > limits.wait_seconds:
        message = f"the expected wait for this model is {wait:.0f} s; try again later"
        return Refusal("max_wait", message, wait - limits.wait_seconds)
    if wait > limits.timeout_seconds:
        message = f"the expected wait for this model, {wait:.0f} s, is beyond the request's deadline; try again later"
        return Refusal("deadline", message, wait - limits.timeout_seconds)
    return None


def retry_when_fewer(outlook: Outlook, limit: int) -> float | None:
    """Return in how many seconds fewer than a limit will wait; None where that is not known."""
    return (outlook.waiting - limit + 1) / outlook.drain_per_second if outlook.drain_per_second else None
