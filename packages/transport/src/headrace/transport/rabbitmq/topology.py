"""What we declare at the broker. Both sides declare the same, so whichever comes first makes it.

Written so that RabbitMQ 3.10 to 4.x accept it: durable classic queues with priorities for tasks, exclusive queues for
replies and control, no transient shared queue, no global QoS.
"""

from typing import Any

from dramatiq.common import xq_name

from headrace.schema.levels import CLASSIC_LEVELS

DEAD_LETTER_TTL_MS = 7 * 24 * 3600 * 1000


def task_queue_arguments(queue_name: str) -> dict[str, Any]:
    """Return the arguments of a task queue: strict levels, and a dead-letter queue for what is rejected."""
    return {
        "x-dead-letter-exchange": "",
        "x-dead-letter-routing-key": xq_name(queue_name),
        "x-max-priority": CLASSIC_LEVELS.highest,
    }


def dead_letter_queue_arguments() -> dict[str, Any]:
    """Return the arguments of a dead-letter queue: kept for a week."""
    return {"x-message-ttl": DEAD_LETTER_TTL_MS}
