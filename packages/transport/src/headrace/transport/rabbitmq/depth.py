# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""How many messages wait in a queue: a passive declare, on a channel of its own.

The broker closes the channel on which somebody asks for a queue that is not there, so nothing else may depend on it.
"""

import asyncio
from typing import Any

from pika.channel import Channel
from pika.exceptions import AMQPError

from headrace.transport.base import QueueDepth, TransportUnavailableError
from headrace.transport.rabbitmq.link import RabbitmqLink


class DepthProbe:
    """Asks about one queue at a time.

    Args:
        link: the connection that it asks on.
    """

    def __init__(self, link: RabbitmqLink) -> None:
        self._link = link
        self._channel: Channel | None = None
        self._answer: asyncio.Future[QueueDepth | None] | None = None
        self._turn = asyncio.Lock()

    async def measure(self, queue: str) -> QueueDepth | None:
        """Return how a queue stands; None where it is not there, or the connection is lost meanwhile."""
        async with self._turn:
            try:
                channel = await self._open()
            except (TransportUnavailableError, AMQPError):
                return None
            answer: asyncio.Future[QueueDepth | None] = asyncio.get_running_loop().create_future()
            self._answer = answer
            channel.queue_declare(queue, passive=True, callback=lambda frame: _settle(answer, _read(frame)))
            return await answer

    async def _open(self) -> Channel:
        if self._channel is None or not self._channel.is_open:
            channel = self._channel = await self._link.open_channel()
            channel.add_on_close_callback(lambda _channel, _error: self._give_up())
        return self._channel

    def _give_up(self) -> None:
        if self._answer is not None:
            _settle(self._answer, None)


def _read(frame: Any) -> QueueDepth:
    return QueueDepth(int(frame.method.message_count), int(frame.method.consumer_count))


def _settle(answer: asyncio.Future[QueueDepth | None], depth: QueueDepth | None) -> None:
    if not answer.done():
        answer.set_result(depth)
