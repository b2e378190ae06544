"""What we declare at the broker. Both sides declare the same, so whichever comes first makes it.

Written so that RabbitMQ 3.10 to 4.x accept it: durable task queues, exclusive queues for replies and control, no
transient shared queue, no global QoS. What differs between the versions is decided here and nowhere else; arguments
that the broker compares with those of a queue that exists never depend on its version, so that an update of the broker
finds its queues as it left them.
"""

import re
from collections.abc import Mapping
from typing import Any

from dramatiq.common import xq_name
from msgspec import Struct

from headrace.schema.levels import CLASSIC_LEVELS, QUORUM_LEVELS
from headrace.schema.settings import BrokerSettings
from headrace.schema.settings.services import QueueType

DEAD_LETTER_TTL_MS = 7 * 24 * 3600 * 1000
# Our own limit of attempts is at most 100; the broker's own, 20 unless it is told otherwise, must never come first.
# A number and not "none": brokers before 4.0 know no word for that.
QUORUM_DELIVERY_LIMIT = 1_000_000
# Longer than any deadline can be (a day), and the same for everybody: newer brokers compare it.
CONSUMER_TIMEOUT_MS = 25 * 3600 * 1000
CONSUMER_TIMEOUT_BY_QUEUE = (3, 12)
CLASSIC_WITHOUT_CONSUMER_TIMEOUT = (4, 3)
QUORUM_TWO_PRIORITIES = (4, 0)
QUORUM_STRICT_PRIORITIES = (4, 3)
# With two levels, whatever is above 4 is the higher one.
LOWER_LEVEL, HIGHER_LEVEL = 0, 5
MIDDLE_PRIORITY = 5
UNKNOWN_VERSION = (0, 0)


class QueueKind(Struct, frozen=True):
    """What task queues are, at which broker.

    Attributes:
        queue_type: `classic` or `quorum`.
        version: major and minor of the broker.
    """

    queue_type: QueueType = "classic"
    version: tuple[int, int] = UNKNOWN_VERSION


def find_kind(settings: BrokerSettings, server_properties: Mapping[str, Any] | None) -> QueueKind:
    """Return what the settings want at the broker that says these things about itself."""
    return QueueKind(settings.queue_type, read_version((server_properties or {}).get("version")))


def read_version(text: object) -> tuple[int, int]:
    """Return major and minor of a version as the broker says it; zeros where it says none."""
    found = re.match(r"(\d+)\.(\d+)", text.decode(errors="replace") if isinstance(text, bytes) else str(text))
    return (int(found[1]), int(found[2])) if found else UNKNOWN_VERSION


def task_queue_arguments(queue_name: str, kind: QueueKind = QueueKind()) -> dict[str, Any]:  # noqa: B008 - frozen
    """Return the arguments of a task queue: strict levels, and a dead-letter queue for what is rejected."""
    arguments: dict[str, Any] = {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": xq_name(queue_name),
        "x-queue-type": kind.queue_type,
    }
    if kind.queue_type == "quorum":
        # No version takes x-max-priority here: those that have priorities have them always.
        return arguments | {"x-delivery-limit": QUORUM_DELIVERY_LIMIT, "x-consumer-timeout": CONSUMER_TIMEOUT_MS}
    arguments["x-max-priority"] = CLASSIC_LEVELS.highest
    if CONSUMER_TIMEOUT_BY_QUEUE <= kind.version < CLASSIC_WITHOUT_CONSUMER_TIMEOUT:
        # Never compared here. Before, it is not known; after, classic queues have no such timeout and refuse the word.
        arguments["x-consumer-timeout"] = CONSUMER_TIMEOUT_MS
    return arguments


def dead_letter_queue_arguments(kind: QueueKind = QueueKind()) -> dict[str, Any]:  # noqa: B008 - frozen
    """Return the arguments of a dead-letter queue: kept for a week, however often somebody looks at it."""
    arguments: dict[str, Any] = {"x-message-ttl": DEAD_LETTER_TTL_MS, "x-queue-type": kind.queue_type}
    if kind.queue_type == "quorum":
        arguments["x-delivery-limit"] = QUORUM_DELIVERY_LIMIT
    return arguments


def message_priority(level: int, kind: QueueKind = QueueKind()) -> int:  # noqa: B008 - frozen
    """Return the priority of a message in a task queue.

    Args:
        level: where it belongs among the levels of a queue of this type.
        kind: a quorum queue has no priorities before RabbitMQ 4.0, two levels before 4.3, and strict ones from there.
    """
    has_two_levels = QUORUM_TWO_PRIORITIES <= kind.version < QUORUM_STRICT_PRIORITIES
    if kind.queue_type == "quorum" and has_two_levels:
        return HIGHER_LEVEL if level >= QUORUM_LEVELS.level_of(MIDDLE_PRIORITY + 1, 0) else LOWER_LEVEL
    return level
