"""The memory transport: every part in one process, no service needed.

It is what `headrace serve` runs on. Tasks pass through a dramatiq broker with priorities, a prefetch, redelivery and
dead letters; chunks and control messages pass as the same bytes as on a real broker. What it can't do is outlive its
process.
"""

from headrace.transport.memory.broker import MemoryBroker
from headrace.transport.memory.hub import MemoryHub
from headrace.transport.memory.sides import MemorySchedulerTransport, MemoryWorkerTransport

__all__ = ["MemoryBroker", "MemoryHub", "MemorySchedulerTransport", "MemoryWorkerTransport"]
