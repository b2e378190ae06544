# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The scheduler's side: publish tasks with confirms, read one exclusive reply queue, send control messages."""

from collections.abc import Sequence

import pika
import structlog
from pika.channel import Channel
from pika.exchange_type import ExchangeType
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from headrace.schema.codec import CodecError, decode_replies, encode_control
from headrace.schema.control import ControlMessage
from headrace.schema.names import (
    CONTROL_EXCHANGE,
    dead_letter_queue_name,
    model_control_key,
    reply_queue_name,
    task_queue_name,
    worker_control_key,
)
from headrace.schema.settings import BrokerSettings
from headrace.schema.task import GenerationTask
from headrace.transport.base import ReplyReceiver, TransportUnavailableError
from headrace.transport.envelope import build_envelope, use_msgpack_envelopes
from headrace.transport.rabbitmq.link import RabbitmqLink
from headrace.transport.rabbitmq.parameters import build_parameters
from headrace.transport.rabbitmq.topology import dead_letter_queue_arguments, task_queue_arguments

PERSISTENT = 2

_log = structlog.get_logger("headrace.rabbitmq")


class RabbitmqSchedulerTransport:
    """`SchedulerTransport` on RabbitMQ.

    Args:
        settings: where the broker is.
        replica_id: names this replica's reply queue.
        models: whose task queues are declared.
    """

    def __init__(self, settings: BrokerSettings, *, replica_id: str, models: Sequence[str]) -> None:
        self._replica_id = replica_id
        self._models = models
        self._link = RabbitmqLink(
            build_parameters(settings, name=f"headrace scheduler {replica_id}"),
            setup=self._set_up,
            on_lost=self._on_lost,
            longest_pause_seconds=settings.reconnect_seconds,
        )
        self._receiver: ReplyReceiver | None = None
        self._tasks_channel: Channel | None = None
        self._control_channel: Channel | None = None
        self._unconfirmed: dict[int, str] = {}
        self._published = 0
        self._epoch = 0
        self._address: str | None = None

    @property
    def reply_address(self) -> str | None:
        """The exclusive reply queue of the current connection."""
        return self._address

    async def start(self, receiver: ReplyReceiver) -> None:
        """Begin to connect."""
        use_msgpack_envelopes()
        self._receiver = receiver
        self._link.start()

    async def wait_ready(self) -> None:
        """Wait for a connection."""
        await self._link.wait_ready()

    async def check(self) -> None:
        """Raise unless a task could be published now."""
        self._link.check()

    async def close(self) -> None:
        """Close the connection, and with it the reply queue."""
        await self._link.close()

    async def _set_up(self, link: RabbitmqLink) -> None:
        self._epoch += 1
        address = reply_queue_name(self._replica_id, self._epoch)
        tasks, replies, control = [await link.open_channel() for _ in range(3)]
        for channel in (tasks, replies, control):
            channel.add_on_close_callback(lambda _channel, error: link.fail(f"channel closed: {error}"))
        for model in self._models:
            await declare_task_queue(link, tasks, model)
        tasks.add_on_return_callback(self._on_task_returned)
        await link.call(lambda done: tasks.confirm_delivery(self._on_confirm, callback=done))
        await declare_control_exchange(link, control)
        await link.call(lambda done: replies.queue_declare(address, exclusive=True, auto_delete=True, callback=done))
        await link.call(
            lambda done: replies.basic_consume(address, self._on_replies, auto_ack=True, exclusive=True, callback=done)
        )
        self._unconfirmed.clear()
        self._published = 0
        self._tasks_channel, self._control_channel, self._address = tasks, control, address

    def _on_lost(self) -> None:
        address, self._address = self._address, None
        self._tasks_channel = self._control_channel = None
        if self._receiver is not None and address is not None:
            self._receiver.lose_reply_path(address)

    def publish_task(self, task: GenerationTask) -> None:
        """Publish a task: persistent, mandatory, confirmed later."""
        channel = self._tasks_channel
        if channel is None or not channel.is_open or not self._link.is_ready:
            self._link.check()
            raise TransportUnavailableError("RabbitMQ is not connected")
        channel.basic_publish(
            exchange="",
            routing_key=task.queue,
            body=build_envelope(task),
            properties=pika.BasicProperties(
                delivery_mode=PERSISTENT, priority=task.priority, message_id=task.request_id
            ),
            mandatory=True,
        )
        self._published += 1
        self._unconfirmed[self._published] = task.request_id

    def _on_confirm(self, frame: Method[Basic.Ack | Basic.Nack]) -> None:
        tag = frame.method.delivery_tag or 0
        # Confirms come in order, so what a multiple confirm covers is at the front.
        tags = [known for known in self._unconfirmed if known <= tag] if frame.method.multiple else [tag]
        for known in tags:
            request_id = self._unconfirmed.pop(known, None)
            if request_id is not None and isinstance(frame.method, Basic.Nack) and self._receiver is not None:
                self._receiver.reject_task(request_id, "the broker refused the task")

    def _on_task_returned(
        self, _channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        if self._receiver is not None and properties.message_id is not None:
            self._receiver.reject_task(properties.message_id, f"the model has no task queue ({method.reply_text})")

    def _on_replies(self, _channel: Channel, _method: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        if self._receiver is None:
            return
        try:
            items = decode_replies(body)
        except CodecError as error:
            _log.error("reply dropped", reason=str(error))
            return
        self._receiver.receive_replies(items)

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        """Publish a control message, if there is a connection."""
        if self._control_channel is None or not self._control_channel.is_open:
            return
        key = model_control_key(model) if worker_id is None else worker_control_key(worker_id)
        self._control_channel.basic_publish(CONTROL_EXCHANGE, key, encode_control(message))


async def declare_task_queue(link: RabbitmqLink, channel: Channel, model: str) -> None:
    """Declare a model's task queue and its dead-letter queue."""
    name = task_queue_name(model)
    arguments = task_queue_arguments(name)
    await link.call(lambda done: channel.queue_declare(name, durable=True, arguments=arguments, callback=done))
    dead, kept = dead_letter_queue_name(model), dead_letter_queue_arguments()
    await link.call(lambda done: channel.queue_declare(dead, durable=True, arguments=kept, callback=done))


async def declare_control_exchange(link: RabbitmqLink, channel: Channel) -> None:
    """Declare the control exchange."""
    await link.call(
        lambda done: channel.exchange_declare(CONTROL_EXCHANGE, ExchangeType.direct, durable=True, callback=done)
    )
