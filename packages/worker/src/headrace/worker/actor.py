"""The dramatiq actor: the thin edge between a message and an execution."""

from collections.abc import Sequence

import dramatiq

from headrace.schema.codec import decode_task
from headrace.schema.names import GENERATE_ACTOR
from headrace.worker.delivery import current_delivery
from headrace.worker.execution import Execution


def declare_generate_actor(broker: dramatiq.Broker, execution: Execution, *, queue_names: Sequence[str]) -> None:
    """Declare the `generate` actor, which schedulers enqueue by name, on a broker, and the queues that it serves.

    Its coroutine raises CodecError for a body that is no task: the message is dead-lettered.
    """

    async def generate(body: bytes) -> None:
        await execution.execute(decode_task(body), redelivered=current_delivery.get().is_redelivered)

    dramatiq.actor(actor_name=GENERATE_ACTOR, queue_name=queue_names[0], broker=broker)(generate)
    for queue_name in queue_names:
        broker.declare_queue(queue_name)
