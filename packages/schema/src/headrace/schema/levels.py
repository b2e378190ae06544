"""What the broker orders a queue by: the priority of a request, and inside one priority its share.

A tenant that has nothing in the queue enters at the top of its priority; the more of its requests wait, the lower the
next one enters, by the logarithm of their number. Served from the top, a queue then goes round its tenants: one that
asks for a little overtakes one that floods, and no gateway needs to know what the others have.
"""

from msgspec import Struct

from headrace.schema.settings.services import QueueType
from headrace.schema.task import MAX_PRIORITY


class Levels(Struct, frozen=True):
    """How a kind of queue divides its levels.

    Attributes:
        shares: levels of each priority.
    """

    shares: int

    @property
    def highest(self) -> int:
        """The highest level."""
        return self.level_of(MAX_PRIORITY, self.shares - 1)

    @property
    def top_share(self) -> int:
        """The share of one that has nothing in the queue, and of everybody where nobody is told apart."""
        return self.shares - 1

    def level_of(self, priority: int, share: int) -> int:
        """Return the level of a priority and a share in it."""
        return priority * self.shares + share

    def share_of(self, waiting: int) -> int:
        """Return the share of a request whose tenant has so many waiting: none, then 1, 2-3, 4-7, 8-15 and so on."""
        return self.top_share - min(self.top_share, waiting.bit_length())


CLASSIC_LEVELS = Levels(8)
"""Of a classic queue: 80 levels."""

QUORUM_LEVELS = Levels(3)
"""Of a quorum queue, which has 32 levels since RabbitMQ 4.3: 30 of them."""


def levels_of(queue_type: QueueType) -> Levels:
    """Return how queues of a type divide their levels."""
    return QUORUM_LEVELS if queue_type == "quorum" else CLASSIC_LEVELS
