# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""The scheduler's side: publish tasks with confirms, read one exclusive reply queue, send control messages."""

import contextlib
from collections.abc import Sequence

import pika
import structlog
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from headrace.schema.codec import CodecError, decode_replies, encode_control
from headrace.schema.control import ControlMessage
from headrace.schema.levels import levels_of
from headrace.schema.names import (
    CONTROL_EXCHANGE,
    REPLY_EXCHANGE,
    Lane,
    control_channel,
    model_control_key,
    reply_channel,
    reply_queue_name,
    task_queue_name,
    worker_control_key,
    worker_of_key,
)
from headrace.schema.settings import BrokerSettings
from headrace.schema.task import GenerationTask
from headrace.transport.base import QueueDepth, ReplyReceiver, TransportUnavailableError
from headrace.transport.envelope import build_envelope, use_msgpack_envelopes
from headrace.transport.rabbitmq.declaring import declare_exchanges, declare_task_queues
from headrace.transport.rabbitmq.depth import DepthProbe
from headrace.transport.rabbitmq.link import RabbitmqLink
from headrace.transport.rabbitmq.outgoing import OutgoingTask, OutgoingTasks
from headrace.transport.rabbitmq.parameters import build_parameters
from headrace.transport.rabbitmq.topology import QueueKind, find_kind, message_priority
from headrace.transport.redis import RedisRelay
from headrace.transport.tasks import TaskOwner

PERSISTENT = 2

_log = structlog.get_logger("headrace.rabbitmq")


class RabbitmqSchedulerTransport:
    """`SchedulerTransport` on RabbitMQ.

    Args:
        settings: where the broker is.
        replica_id: our reply address; no other replica has it.
        models: whose task queues are declared.
        relay: the way round the broker, on which we hear what workers can't send through it.
    """

    def __init__(
        self, settings: BrokerSettings, *, replica_id: str, models: Sequence[str], relay: RedisRelay | None = None
    ) -> None:
        self._settings = settings
        self._kind = QueueKind(settings.queue_type)
        self._replica_id = replica_id
        self._models: Sequence[str] = list(dict.fromkeys(models))
        self._relay = relay
        self._link = RabbitmqLink(
            build_parameters(settings, name=f"headrace scheduler {replica_id}"),
            setup=self._set_up,
            on_lost=self._on_lost,
            on_blocked=self._on_blocked,
            longest_pause_seconds=settings.reconnect_seconds,
        )
        self._receiver: ReplyReceiver | None = None
        self._outgoing = OutgoingTasks()
        self._tasks_channel: Channel | None = None
        self._control_channel: Channel | None = None
        self._relayed = TaskOwner()
        self._depths = DepthProbe(self._link)
        self._epoch = 0

    @property
    def reply_address(self) -> str:
        """The key that the reply queue of each of our connections is bound to."""
        return self._replica_id

    async def start(self, receiver: ReplyReceiver) -> None:
        """Begin to connect."""
        use_msgpack_envelopes()
        self._receiver = receiver
        self._link.start()
        if self._relay is not None:
            self._relay.listen(reply_channel(self._replica_id), self._take_replies)

    async def wait_ready(self) -> None:
        """Wait for a connection."""
        await self._link.wait_ready()

    async def check(self) -> None:
        """Raise unless a task could be published now."""
        self._link.check()

    async def close(self) -> None:
        """Close the connection, and with it the reply queue."""
        self._receiver = None
        await self._link.close()
        await self._relayed.close()
        if self._relay is not None:
            await self._relay.close()

    async def _set_up(self, link: RabbitmqLink) -> None:
        self._epoch += 1
        queue = reply_queue_name(self._replica_id, self._epoch)
        tasks, replies, control = [await link.open_channel() for _ in range(3)]
        for channel in (tasks, replies, control):
            channel.add_on_close_callback(link.lose_channel)
        self._kind = find_kind(self._settings, link.server_properties)
        declared = await self._declare_missing(link, tasks, frozenset())
        tasks.add_on_return_callback(self._on_task_returned)
        control.add_on_return_callback(self._on_control_returned)
        await link.call(lambda done: tasks.confirm_delivery(self._on_confirm, callback=done))
        await declare_exchanges(link, control)
        await link.call(lambda done: replies.queue_declare(queue, exclusive=True, auto_delete=True, callback=done))
        await link.call(
            lambda done: replies.queue_bind(queue, REPLY_EXCHANGE, routing_key=self._replica_id, callback=done)
        )
        await link.call(
            lambda done: replies.basic_consume(queue, self._on_replies, auto_ack=True, exclusive=True, callback=done)
        )
        while not declared.issuperset(self._models):
            # Some were added meanwhile.
            declared = await self._declare_missing(link, tasks, declared)
        self._tasks_channel, self._control_channel = tasks, control
        for task in self._outgoing.begin_again():
            self._send_task(task)
        if self._epoch > 1 and self._receiver is not None:
            self._receiver.restore_reply_path()

    async def _declare_missing(self, link: RabbitmqLink, tasks: Channel, declared: frozenset[str]) -> frozenset[str]:
        models = frozenset(self._models)
        await declare_task_queues(link, tasks, sorted(models - declared), self._kind)
        return declared | models

    async def add_models(self, models: Sequence[str]) -> None:
        """Declare the task queues of further models."""
        added = [model for model in models if model not in self._models]
        self._models = [*self._models, *added]
        channel = self._tasks_channel
        if channel is None or not channel.is_open:
            return
        # Where the connection is lost meanwhile, the next one declares them.
        with contextlib.suppress(TransportUnavailableError):
            await declare_task_queues(self._link, channel, added, self._kind)

    def _on_lost(self) -> None:
        self._tasks_channel = self._control_channel = None

    def _on_blocked(self, blocked: bool) -> None:  # noqa: FBT001 - a callback
        if not blocked and self._link.is_ready:
            for task in self._outgoing.take_unsent():
                self._send_task(task)

    def publish_task(self, task: GenerationTask, *, level: int | None = None) -> None:
        """Publish a task: persistent, mandatory, confirmed later."""
        if self._receiver is None:
            raise TransportUnavailableError("the connection to RabbitMQ is closed")
        if level is None:
            levels = levels_of(self._settings.queue_type)
            level = levels.level_of(task.priority, levels.top_share)
        self._outgoing.add(task, build_envelope(task), level=level)
        if self._tasks_channel is not None and self._tasks_channel.is_open and self._link.is_ready:
            for sent in self._outgoing.take_unsent():
                self._send_task(sent)

    def withdraw_task(self, request_id: str) -> bool:
        """Publish a task no more, if that has not happened yet."""
        return self._outgoing.withdraw(request_id)

    async def measure_queue(self, model: str, lane: Lane) -> QueueDepth | None:
        """Ask the broker about a queue."""
        return await self._depths.measure(task_queue_name(model, lane)) if self._link.is_ready else None

    def _send_task(self, sent: OutgoingTask) -> None:
        if self._tasks_channel is None:
            return
        task = sent.task
        self._tasks_channel.basic_publish(
            exchange="",
            routing_key=task.queue,
            body=sent.body,
            properties=pika.BasicProperties(
                delivery_mode=PERSISTENT,
                priority=message_priority(sent.level, self._kind),
                message_id=task.request_id,
            ),
            mandatory=True,
        )
        self._outgoing.note_sent(task.request_id)

    def _on_confirm(self, frame: Method[Basic.Ack | Basic.Nack]) -> None:
        tag, is_multiple = frame.method.delivery_tag or 0, bool(frame.method.multiple)
        for request_id in self._outgoing.settle(tag, is_multiple=is_multiple):
            if isinstance(frame.method, Basic.Nack) and self._receiver is not None:
                self._receiver.reject_task(request_id, "the broker refused the task")

    def _on_task_returned(
        self, _channel: Channel, method: Basic.Return, properties: BasicProperties, _body: bytes
    ) -> None:
        if self._receiver is not None and properties.message_id is not None:
            self._receiver.reject_task(properties.message_id, f"the model has no task queue ({method.reply_text})")

    def _on_control_returned(
        self, _channel: Channel, method: Basic.Return, _properties: BasicProperties, _body: bytes
    ) -> None:
        worker_id = worker_of_key(method.routing_key or "")
        if worker_id is not None and self._receiver is not None:
            self._receiver.lose_worker(worker_id)

    def _on_replies(self, _channel: Channel, _method: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        self._take_replies(body)

    def _take_replies(self, body: bytes) -> None:
        if self._receiver is None:
            return
        try:
            items = decode_replies(body)
        except CodecError as error:
            _log.error("reply dropped", reason=str(error))
            return
        self._receiver.receive_replies(items)

    def send_control(self, message: ControlMessage, *, model: str, worker_id: str | None) -> None:
        """Publish a control message, round the broker where that is away."""
        channel = self._control_channel
        if channel is not None and channel.is_open and self._link.is_ready:
            key = model_control_key(model) if worker_id is None else worker_control_key(worker_id)
            channel.basic_publish(CONTROL_EXCHANGE, key, encode_control(message), mandatory=worker_id is not None)
        elif self._relay is not None and worker_id is not None:
            self._relayed.start(self._relay_control(encode_control(message), worker_id), name="relayed control")

    async def _relay_control(self, body: bytes, worker_id: str) -> None:
        if self._relay is None:
            return
        with contextlib.suppress(TransportUnavailableError):
            await self._relay.publish(control_channel(worker_id), body)
