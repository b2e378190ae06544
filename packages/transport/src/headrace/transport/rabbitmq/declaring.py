# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Declares, over an asyncio connection, what both sides use."""

from collections.abc import Sequence
from typing import Any

from dramatiq.common import xq_name
from pika.channel import Channel
from pika.exchange_type import ExchangeType

from headrace.schema.names import CONTROL_EXCHANGE, LANES, REPLY_EXCHANGE, task_queue_name
from headrace.transport.rabbitmq.link import RabbitmqLink
from headrace.transport.rabbitmq.topology import QueueKind, dead_letter_queue_arguments, task_queue_arguments


async def declare_task_queues(link: RabbitmqLink, channel: Channel, models: Sequence[str], kind: QueueKind) -> None:
    """Declare the task queues of models, of each lane, with their dead-letter queues."""
    for model in models:
        for lane in LANES:
            name = task_queue_name(model, lane)
            await _declare(link, channel, name, task_queue_arguments(name, kind))
            await _declare(link, channel, xq_name(name), dead_letter_queue_arguments(kind))


async def _declare(link: RabbitmqLink, channel: Channel, name: str, arguments: dict[str, Any]) -> None:
    await link.call(lambda done: channel.queue_declare(name, durable=True, arguments=arguments, callback=done))


async def declare_exchanges(link: RabbitmqLink, channel: Channel) -> None:
    """Declare the exchanges of control messages and of replies."""
    for name in (CONTROL_EXCHANGE, REPLY_EXCHANGE):
        await _declare_exchange(link, channel, name)


async def _declare_exchange(link: RabbitmqLink, channel: Channel, name: str) -> None:
    await link.call(lambda done: channel.exchange_declare(name, ExchangeType.direct, durable=True, callback=done))
