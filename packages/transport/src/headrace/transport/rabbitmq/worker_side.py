# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The worker's side: write replies in coalesced batches, read the worker's own control queue."""

import asyncio
import contextlib
from collections.abc import Sequence

import dramatiq
import pika
import structlog
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from headrace.schema.codec import CodecError, decode_control, decode_replies
from headrace.schema.events import AttemptQuery, AttemptRunning
from headrace.schema.names import (
    CONTROL_EXCHANGE,
    REPLY_EXCHANGE,
    control_channel,
    control_queue_name,
    model_control_key,
    worker_control_key,
)
from headrace.schema.settings import BrokerSettings
from headrace.transport.base import ControlReceiver, ReplyWriter
from headrace.transport.envelope import use_msgpack_envelopes
from headrace.transport.rabbitmq.broker import HeadraceRabbitmqBroker
from headrace.transport.rabbitmq.declaring import declare_exchanges, declare_task_queues
from headrace.transport.rabbitmq.link import RabbitmqLink
from headrace.transport.rabbitmq.parameters import build_parameters
from headrace.transport.rabbitmq.read_back import Answered, ReadBack
from headrace.transport.rabbitmq.topology import find_kind
from headrace.transport.redis import RedisRelay
from headrace.transport.replies import BrokerState, LargeReplies, ReplyOutbox

CLOSE_FLUSH_SECONDS = 2.0
# Without a relay nobody can tell a scheduler that is gone from one that is connecting again.
UNREAD_SECONDS = 2.0
TRANSIENT = pika.BasicProperties(delivery_mode=1)

_log = structlog.get_logger("headrace.rabbitmq")


class RabbitmqWorkerTransport:
    """`WorkerTransport` on RabbitMQ.

    Args:
        settings: where the broker is.
        consumer_priority: x-priority of this worker's consumers; the broker fills the higher first.
        relay: the way round the broker while the reply path is down.
        large: the way of chunks that are too large for the broker.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        *,
        consumer_priority: int = 0,
        relay: RedisRelay | None = None,
        large: LargeReplies | None = None,
    ) -> None:
        self._settings = settings
        self._broker = HeadraceRabbitmqBroker(settings, consumer_priority=consumer_priority)
        self._link = RabbitmqLink(
            build_parameters(settings, name="headrace worker replies"),
            setup=self._set_up,
            on_lost=self._on_lost,
            on_blocked=self._on_blocked,
            longest_pause_seconds=settings.reconnect_seconds,
            on_ready=self._say_running,
        )
        self._relay = relay
        self._outbox = ReplyOutbox(
            self._publish,
            self._state,
            on_unread=self._lose_readers,
            relay=relay,
            unread_seconds=UNREAD_SECONDS,
            large=large,
        )
        self._read_back = ReadBack(self._ask_back)
        self._channel: Channel | None = None
        self._receiver: ControlReceiver | None = None
        self._worker_id = ""
        self._models: Sequence[str] = ()

    @property
    def broker(self) -> dramatiq.Broker:
        """The broker that tasks are consumed from, on connections of its own."""
        return self._broker

    async def start(self, receiver: ControlReceiver, *, worker_id: str, models: Sequence[str]) -> None:
        """Begin to connect."""
        use_msgpack_envelopes()
        self._receiver, self._worker_id, self._models = receiver, worker_id, models
        if self._relay is not None:
            self._relay.listen(control_channel(worker_id), self._take_control)
        self._link.start()

    async def wait_ready(self) -> None:
        """Wait for a connection."""
        await self._link.wait_ready()

    async def _set_up(self, link: RabbitmqLink) -> None:
        replies, control = await link.open_channel(), await link.open_channel()
        for channel in (replies, control):
            channel.add_on_close_callback(link.lose_channel)
        await declare_task_queues(link, control, self._models, find_kind(self._settings, link.server_properties))
        replies.add_on_return_callback(self._on_returned)
        await declare_exchanges(link, control)
        queue = control_queue_name(self._worker_id)
        await link.call(lambda done: control.queue_declare(queue, exclusive=True, auto_delete=True, callback=done))
        for key in (worker_control_key(self._worker_id), *(model_control_key(model) for model in self._models)):
            await self._bind(link, control, key)
        await link.call(lambda done: control.basic_consume(queue, self._on_control, auto_ack=True, callback=done))
        self._channel = replies

    async def _bind(self, link: RabbitmqLink, channel: Channel, key: str) -> None:
        queue = control_queue_name(self._worker_id)
        await link.call(lambda done: channel.queue_bind(queue, CONTROL_EXCHANGE, routing_key=key, callback=done))

    def _on_lost(self) -> None:
        self._channel = None
        self._outbox.lose_connection()
        self._read_back.lose()

    def _say_running(self) -> None:
        """Say what runs here to those who wait for it: who was granted it meanwhile could not tell us to stop."""
        for address, request_id, attempt in self._outbox.list_running():
            self._outbox.send(address, AttemptRunning(request_id, attempt, self._worker_id))

    def _on_blocked(self, blocked: bool) -> None:  # noqa: FBT001 - a callback
        if blocked:
            # What was last written lies in a buffer that the broker does not read.
            self._outbox.lose_connection()
            self._read_back.lose()

    def _on_control(self, _channel: Channel, _method: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        self._take_control(body)

    def _take_control(self, body: bytes) -> None:
        if self._receiver is None:
            return
        try:
            message = decode_control(body)
        except CodecError as error:
            _log.error("control message dropped", reason=str(error))
            return
        self._receiver.receive_control(message)

    def _on_returned(self, _channel: Channel, method: Basic.Return, _properties: BasicProperties, body: bytes) -> None:
        self._outbox.take_back(method.routing_key or "", decode_replies(body))

    def _lose_readers(self, request_ids: Sequence[str]) -> None:
        if self._receiver is not None:
            self._receiver.lose_readers(request_ids)

    def open_reply(
        self, reply_address: str, *, request_id: str, attempt: int, is_retained: bool = False
    ) -> ReplyWriter:
        """Open the way back for one attempt."""
        return self._outbox.open(reply_address, request_id=request_id, attempt=attempt, is_retained=is_retained)

    def redirect(self, request_id: str, reply_address: str) -> None:
        """Tell a retained generation to another address."""
        self._outbox.redirect(request_id, reply_address)

    async def wait_heard(self, request_id: str) -> None:
        """Return when nothing of a retained generation is held."""
        await self._outbox.wait_heard(request_id)

    def send(self, reply_address: str, statement: AttemptQuery | AttemptRunning) -> None:
        """Ask or tell the scheduler something."""
        self._outbox.send(reply_address, statement)

    def resend(self, request_id: str, attempt: int) -> None:
        """Tell an attempt from its start once more."""
        self._outbox.resend(request_id, attempt)

    def _state(self) -> BrokerState:
        if self._channel is None or not self._channel.is_open or not self._link.is_ready:
            return BrokerState.DOWN
        return BrokerState.OPEN if self._link.is_writable else BrokerState.SLOW

    def _publish(self, reply_address: str, body: bytes) -> None:
        if self._channel is not None:
            self._channel.basic_publish(REPLY_EXCHANGE, reply_address, body, TRANSIENT, mandatory=True)

    def _ask_back(self, answered: Answered) -> bool:
        if self._channel is None or not self._channel.is_open:
            return False
        self._channel.exchange_declare(REPLY_EXCHANGE, passive=True, callback=lambda _frame: answered())
        return True

    async def flush(self) -> None:
        """Return when everything written has been handed to the connection, or to Redis."""
        await self._outbox.wait_empty()

    async def wait_read(self) -> None:
        """Return when the broker has read everything that was written, or Redis has it.

        What lies in a socket is not enough: where a host dies, nobody would have it, and the task that is acknowledged
        after this would not come again.
        """
        await self._outbox.wait_empty()
        while self._state() is not BrokerState.DOWN and not await self._read_back.wait():
            await self._outbox.wait_empty()

    async def close(self) -> None:
        """Flush what can still leave, and close the connection."""
        if self._link.is_ready:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_FLUSH_SECONDS):
                    await self.flush()
        await self._outbox.close()
        await self._link.close()
        if self._relay is not None:
            await self._relay.close()
        # dramatiq's connections are blocking ones: each is closed by a round trip.
        await asyncio.to_thread(self._broker.close)
