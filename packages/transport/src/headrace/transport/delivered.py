"""A task that was delivered, as every consumer of ours hands it out."""

from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy

from headrace.schema.dead_letter import DeadLetter


class TaskMessage(MessageProxy):
    """A delivery.

    Attributes:
        redelivered: it was delivered before, here or elsewhere.
        dead_letter: why it is not tried again; set before a consumer is told to `nack` it.
    """

    def __init__(self, message: dramatiq.Message[Any], *, redelivered: bool) -> None:
        super().__init__(message)  # pyright: ignore[reportUnknownMemberType]
        self.redelivered = redelivered
        self.dead_letter: DeadLetter | None = None
