"""What a gateway reaches others by, made of its settings and not connected yet.

A URL that can't be used is a mistake in the settings.
"""

import secrets
import socket

from headrace.scheduler.large import LargeRequests
from headrace.schema.settings import Settings, SettingsError
from headrace.transport.base import SchedulerTransport
from headrace.transport.objects import open_payloads
from headrace.transport.rabbitmq import RabbitmqSchedulerTransport
from headrace.transport.redis import RedisProbe, RedisRecords, RedisRelay, RedisRetentionStore
from headrace.transport.retention import MemoryRetention, MemoryRetentionStore, RetentionLimits, RetentionStore

RESPONSES = "headrace:response:"


def connect_broker(settings: Settings) -> SchedulerTransport:
    """Make the scheduler's transport of a gateway process.

    Raises:
        SettingsError: the broker's URL can't be used by a process of its own.
    """
    if not settings.broker.url.startswith(("amqp://", "amqps://")):
        raise SettingsError(
            [
                f"broker.url: a gateway process needs a broker that workers reach, not {settings.broker.url}: "
                "set it to amqp://…, or run everything in one process with `headrace serve`"
            ]
        )
    replica_id = f"{socket.gethostname().split('.')[0]}-{secrets.token_hex(4)}"
    try:
        relay = RedisRelay(settings.redis) if settings.redis.url else None
        return RabbitmqSchedulerTransport(
            settings.broker, replica_id=replica_id, models=list(settings.models), relay=relay
        )
    except ValueError as error:
        raise SettingsError([str(error)]) from None


def open_retention(settings: Settings) -> RetentionStore | None:
    """Return where generations are retained: what every gateway sees, or the memory of the only one.

    Raises:
        SettingsError: the URL of Redis can't be used.
    """
    kept = settings.retention
    limits = RetentionLimits(seconds=kept.seconds, max_count=kept.max_count, max_total_bytes=kept.max_total_bytes)
    if settings.broker.url.startswith("memory:"):
        return MemoryRetentionStore(MemoryRetention(limits))
    if not settings.redis.url:
        return None
    try:
        return RedisRetentionStore(settings.redis, limits, owner=f"gateway-{secrets.token_hex(8)}")
    except ValueError as error:
        raise SettingsError([str(error)]) from None


def open_large(settings: Settings) -> LargeRequests | None:
    """Return what moves large requests into the object store; None where there is none.

    Raises:
        SettingsError: its URL can't be used.
    """
    try:
        payloads = open_payloads(settings.objects)
    except ValueError as error:
        raise SettingsError([str(error)]) from None
    return None if payloads is None else LargeRequests(payloads, settings.objects)


def open_records(settings: Settings) -> RedisRecords | None:
    """Return where responses are kept that all gateways find; None where each keeps its own.

    Raises:
        SettingsError: the URL of Redis can't be used.
    """
    if not settings.redis.url:
        return None
    try:
        return RedisRecords(settings.redis, prefix=RESPONSES)
    except ValueError as error:
        raise SettingsError([str(error)]) from None


def connect_redis(settings: Settings) -> RedisProbe | None:
    """Return what tells whether Redis is there; None where none is used.

    Raises:
        SettingsError: its URL can't be used.
    """
    if not settings.redis.url:
        return None
    try:
        return RedisProbe(settings.redis)
    except ValueError as error:
        raise SettingsError([str(error)]) from None
