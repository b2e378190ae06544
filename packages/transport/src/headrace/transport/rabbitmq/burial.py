# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Puts a task into its dead-letter queue, with what is known about it.

A broker's own way there (a reject) can't say why, so the task is published by us, and acknowledged only after the
broker has confirmed that it is kept. Whoever dies in between leaves it in its queue; it may then be kept twice, which
is recognised by its request id.
"""

import threading
from collections.abc import Callable
from typing import Any

import pika
import pika.exceptions
import structlog
from dramatiq.common import xq_name
from msgspec import Struct

from headrace.schema.dead_letter import HEADER, DeadLetter, encode_dead_letter
from headrace.transport.rabbitmq.blocking import CONNECTION_ERRORS, server_properties_of
from headrace.transport.rabbitmq.topology import QueueKind, dead_letter_queue_arguments, read_version

PERSISTENT = 2
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 3.0

_log = structlog.get_logger("headrace.rabbitmq")


class DeadTask(Struct, frozen=True, kw_only=True):
    """A task on its way to the dead letters.

    Attributes:
        queue_name: the task queue that it came from.
        body: its message, as it was delivered.
        message_id: its request id, where the message says one.
        letter: why it is there.
    """

    queue_name: str
    body: bytes
    message_id: str | None
    letter: DeadLetter


class DeadLetterWriter:
    """Publishes dead letters on short-lived connections of its own, each from a thread of its own.

    Not on the connection that consumes: one that publishes is stopped by the broker while it is short of memory, and
    its acknowledgements with it. There are never more of these threads than deliveries in hand.

    Args:
        parameters: where the broker is.
        kind: what queues are, for a dead-letter queue that somebody has deleted.
    """

    def __init__(self, parameters: pika.URLParameters, kind: QueueKind) -> None:
        self._parameters = parameters
        self._kind = kind

    def start(self, task: DeadTask, *, on_kept: Callable[[], None], is_needed: Callable[[], bool]) -> None:
        """Publish a task, again and again until the broker has it.

        Args:
            task: what to keep.
            on_kept: called in the thread once the broker has confirmed it.
            is_needed: asked before each try; False once the delivery is lost, and the broker will deliver it again.
        """
        name = f"dead letter {task.message_id}"
        threading.Thread(target=self._run, args=(task, on_kept, is_needed), name=name, daemon=True).start()

    def _run(self, task: DeadTask, on_kept: Callable[[], None], is_needed: Callable[[], bool]) -> None:
        pause, said = FIRST_PAUSE_SECONDS, ""
        waiting = threading.Event()
        while is_needed():
            try:
                self.publish(task)
            except CONNECTION_ERRORS as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("dead letter waits", queue=task.queue_name, request_id=task.message_id, reason=said)
                waiting.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                on_kept()
                return

    def publish(self, task: DeadTask) -> None:
        """Publish a task once, and return when the broker has it. It blocks."""
        name = xq_name(task.queue_name)
        properties = pika.BasicProperties(
            delivery_mode=PERSISTENT, message_id=task.message_id, headers={HEADER: encode_dead_letter(task.letter)}
        )
        with pika.BlockingConnection(self._parameters) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            try:
                channel.basic_publish("", name, task.body, properties, mandatory=True)
            except pika.exceptions.UnroutableError:
                version = read_version(server_properties_of(connection).get("version"))
                arguments: dict[str, Any] = dead_letter_queue_arguments(QueueKind(self._kind.queue_type, version))
                channel.queue_declare(name, durable=True, arguments=arguments)
                channel.basic_publish("", name, task.body, properties, mandatory=True)
