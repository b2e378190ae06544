# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Looks at a broker's version and at the queues that it has of us, without making any. For people, so it blocks."""

from collections.abc import Sequence
from typing import Any

import pika
import pika.exceptions
from dramatiq.common import xq_name
from msgspec import Struct

from headrace.schema.names import LANES, task_queue_name
from headrace.schema.settings import BrokerSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.rabbitmq.blocking import CONNECTION_ERRORS, server_properties_of
from headrace.transport.rabbitmq.link import describe_failure
from headrace.transport.rabbitmq.parameters import build_parameters
from headrace.transport.rabbitmq.refusal import explain_refusal
from headrace.transport.rabbitmq.topology import (
    QueueKind,
    dead_letter_queue_arguments,
    find_kind,
    task_queue_arguments,
)


class BrokerFacts(Struct, frozen=True, kw_only=True):
    """What a broker is.

    Attributes:
        version: as it says it.
        kind: what our queues are there.
        refusals: for each queue that exists with other arguments than ours, what to do.
    """

    version: str
    kind: QueueKind
    refusals: tuple[str, ...] = ()


def inspect_broker(settings: BrokerSettings, models: Sequence[str]) -> BrokerFacts:
    """Look at a broker.

    Raises:
        TransportUnavailableError: it can't be reached, or does not let us in.
        ValueError: the URL can't be used.
    """
    try:
        with pika.BlockingConnection(build_parameters(settings, name="headrace doctor")) as connection:
            properties = server_properties_of(connection)
            kind = find_kind(settings, properties)
            version: Any = properties.get("version", "?")
            refusals: list[str] = []
            for model in models:
                for lane in LANES:
                    name = task_queue_name(model, lane)
                    expected = (
                        (name, task_queue_arguments(name, kind)),
                        (xq_name(name), dead_letter_queue_arguments(kind)),
                    )
                    refusals += [found for queue in expected if (found := _find_refusal(connection, *queue))]
            return BrokerFacts(version=str(version), kind=kind, refusals=tuple(refusals))
    except CONNECTION_ERRORS as error:
        raise TransportUnavailableError(describe_failure(error)) from None


def _find_refusal(connection: pika.BlockingConnection, name: str, arguments: dict[str, Any]) -> str | None:
    try:
        connection.channel().queue_declare(name, passive=True)
    except pika.exceptions.ChannelClosedByBroker:
        # It is not there, or not ours to see: the processes that need it will say so.
        return None
    channel = connection.channel()
    try:
        channel.queue_declare(name, durable=True, arguments=arguments)
    except pika.exceptions.ChannelClosedByBroker as error:
        return explain_refusal(error) or describe_failure(error)
    channel.close()
    return None
