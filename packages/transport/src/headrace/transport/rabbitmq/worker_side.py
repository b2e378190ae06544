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

from headrace.schema.codec import CodecError, decode_control, decode_replies, encode_replies
from headrace.schema.events import AttemptQuery, ReplyItem
from headrace.schema.names import CONTROL_EXCHANGE, control_queue_name, model_control_key, worker_control_key
from headrace.schema.settings import BrokerSettings
from headrace.transport.base import ControlReceiver, ReplyWriter
from headrace.transport.envelope import use_msgpack_envelopes
from headrace.transport.outbox import ReplyOutbox
from headrace.transport.rabbitmq.broker import HeadraceRabbitmqBroker
from headrace.transport.rabbitmq.link import RabbitmqLink
from headrace.transport.rabbitmq.parameters import build_parameters
from headrace.transport.rabbitmq.scheduler_side import declare_control_exchange

CLOSE_FLUSH_SECONDS = 2.0
TRANSIENT = pika.BasicProperties(delivery_mode=1)

_log = structlog.get_logger("headrace.rabbitmq")


class RabbitmqWorkerTransport:
    """`WorkerTransport` on RabbitMQ.

    Args:
        settings: where the broker is.
        consumer_priority: x-priority of this worker's consumers; the broker fills the higher first.
    """

    def __init__(self, settings: BrokerSettings, *, consumer_priority: int = 0) -> None:
        self._broker = HeadraceRabbitmqBroker(
            build_parameters(settings, name="headrace worker tasks"), consumer_priority=consumer_priority
        )
        self._link = RabbitmqLink(
            build_parameters(settings, name="headrace worker replies"),
            setup=self._set_up,
            on_lost=self._on_lost,
            longest_pause_seconds=settings.reconnect_seconds,
        )
        self._outbox = ReplyOutbox(self._publish, is_writable=self._is_writable)
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
        self._link.start()

    async def wait_ready(self) -> None:
        """Wait for a connection."""
        await self._link.wait_ready()

    async def _set_up(self, link: RabbitmqLink) -> None:
        replies, control = await link.open_channel(), await link.open_channel()
        for channel in (replies, control):
            channel.add_on_close_callback(lambda _channel, error: link.fail(f"channel closed: {error}"))
        replies.add_on_return_callback(self._on_returned)
        await declare_control_exchange(link, control)
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

    def _on_control(self, _channel: Channel, _method: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        if self._receiver is None:
            return
        try:
            message = decode_control(body)
        except CodecError as error:
            _log.error("control message dropped", reason=str(error))
            return
        self._receiver.receive_control(message)

    def _on_returned(self, _channel: Channel, _method: Basic.Return, _properties: BasicProperties, body: bytes) -> None:
        if self._receiver is not None:
            self._receiver.lose_reply_address([item.request_id for item in decode_replies(body)])

    def open_reply(self, reply_address: str, *, request_id: str, attempt: int) -> ReplyWriter:
        """Open the way back for one attempt."""
        return self._outbox.open(reply_address, request_id=request_id, attempt=attempt)

    def send_query(self, reply_address: str, query: AttemptQuery) -> None:
        """Ask the scheduler about a redelivered task."""
        self._outbox.send_query(reply_address, query)

    def _is_writable(self) -> bool:
        return self._channel is not None and self._channel.is_open and self._link.is_writable

    def _publish(self, reply_address: str, items: Sequence[ReplyItem]) -> None:
        if self._channel is not None:
            self._channel.basic_publish("", reply_address, encode_replies(items), TRANSIENT, mandatory=True)

    async def flush(self) -> None:
        """Return when everything written has been handed to the connection."""
        await self._outbox.wait_empty()

    async def close(self) -> None:
        """Flush what can still leave, and close the connection."""
        if self._link.is_ready:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_FLUSH_SECONDS):
                    await self.flush()
        await self._link.close()
        # dramatiq's connections are blocking ones: each is closed by a round trip.
        await asyncio.to_thread(self._broker.close)
