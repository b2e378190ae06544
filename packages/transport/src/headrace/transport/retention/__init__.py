"""Where generations are kept that outlive their call and their gateway: the contract, and memory; Redis is its own."""

from headrace.transport.retention.base import (
    IdempotencyClaim,
    Opened,
    Orphan,
    RetainedHead,
    RetentionFullError,
    RetentionLimits,
    RetentionOwner,
    RetentionStore,
    RetentionUnavailableError,
)
from headrace.transport.retention.log import EventLog
from headrace.transport.retention.memory import MemoryRetention, MemoryRetentionStore

__all__ = [
    "EventLog",
    "IdempotencyClaim",
    "MemoryRetention",
    "MemoryRetentionStore",
    "Opened",
    "Orphan",
    "RetainedHead",
    "RetentionFullError",
    "RetentionLimits",
    "RetentionOwner",
    "RetentionStore",
    "RetentionUnavailableError",
]
