# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Looks into dead-letter queues, and takes single tasks out of them. For people, so it blocks.

To look, every message is taken without an acknowledgement, and then given back: the broker puts each where it was.
Whoever looks at the same moment sees fewer.
"""

import hashlib
import re
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pika
import pika.exceptions
from dramatiq.common import xq_name
from dramatiq.errors import DecodeError
from msgspec import Struct, structs
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import BasicProperties

from headrace.schema.codec import CodecError, decode_task
from headrace.schema.dead_letter import HEADER, DeadLetter, decode_dead_letter, encode_dead_letter
from headrace.schema.levels import levels_of
from headrace.schema.settings import BrokerSettings
from headrace.schema.task import GenerationTask
from headrace.transport.base import TransportUnavailableError
from headrace.transport.envelope import build_envelope, decode_envelope, use_msgpack_envelopes
from headrace.transport.rabbitmq.blocking import CONNECTION_ERRORS, server_properties_of
from headrace.transport.rabbitmq.link import describe_failure
from headrace.transport.rabbitmq.parameters import build_parameters
from headrace.transport.rabbitmq.topology import find_kind, message_priority

PERSISTENT = 2
NOT_FOUND = 404
# Somebody sits at a terminal: a broker that takes no messages is said, not waited for.
BLOCKED_SECONDS = 10
# Messages that are looked at in one queue; they all lie in its broker meanwhile, unacknowledged.
MOST_SEEN = 10_000
# A quorum queue takes back what was looked at in its own time; whoever looks next should find it.
PUT_BACK_SECONDS = 2.0
PUT_BACK_POLL_SECONDS = 0.02
_RETRY = re.compile(r"\.r\d+$")


class DeadTaskFound(Struct, frozen=True, kw_only=True):
    """A dead letter.

    Attributes:
        id: its request id, or one made of its body where it has none.
        queue_name: the task queue that it died in.
        letter: why it is there.
        task: the task; None where it can't be decoded.
        copies: how often it lies there: a worker that dies at the wrong moment keeps it twice.
    """

    id: str
    queue_name: str
    letter: DeadLetter
    task: GenerationTask | None
    copies: int = 1

    @property
    def next_id(self) -> str:
        """The id under which it is tried again."""
        return f"{_RETRY.sub('', self.id)}.r{self.letter.retries + 1}"


class _Message(Struct, frozen=True):
    tag: int
    found: DeadTaskFound


class DeadLetterBox:
    """The dead letters of one broker.

    Args:
        settings: where the broker is.

    Raises:
        ValueError: the URL can't be used.
    """

    def __init__(self, settings: BrokerSettings) -> None:
        use_msgpack_envelopes()
        self._settings = settings
        self._parameters = build_parameters(settings, name="headrace dead letters")
        self._parameters.blocked_connection_timeout = BLOCKED_SECONDS

    def browse(self, queue_name: str) -> list[DeadTaskFound]:
        """Return the dead letters of a task queue, the oldest first, each once.

        Raises:
            TransportUnavailableError: the broker can't be reached, or does not let us.
        """
        found: dict[str, DeadTaskFound] = {}
        with self._open() as (_connection, channel):
            messages = list(_walk(channel, queue_name))
            _put_back(channel, queue_name, len(messages))
        for message in messages:
            known = found.get(message.found.id)
            again = message.found if known is None else structs.replace(known, copies=known.copies + 1)
            found[again.id] = again
        return list(found.values())

    def drop(self, queue_name: str, task_id: str) -> int:
        """Remove a dead letter for good, with its copies, and return how many there were.

        Raises:
            TransportUnavailableError: the broker can't be reached, or does not let us.
        """
        with self._open() as (_connection, channel):
            return _take_out(channel, queue_name, task_id, list(_walk(channel, queue_name)))

    def retry(self, found: DeadTaskFound, task: GenerationTask) -> None:
        """Publish a task in the place of a dead letter, with the history of that, and remove the letter after it.

        Args:
            found: the dead letter.
            task: its request, with a fresh deadline and a new id, since workers remember those that have ended.

        Raises:
            TransportUnavailableError: the broker can't be reached, does not let us, or has no queue for the task.
        """
        letter = structs.replace(found.letter, retries=found.letter.retries + 1)
        with self._open() as (connection, channel):
            messages = list(_walk(channel, found.queue_name))
            if not any(message.found.id == found.id for message in messages):
                raise TransportUnavailableError("it is not there any more")
            channel.confirm_delivery()
            levels = levels_of(self._settings.queue_type)
            kind = find_kind(self._settings, server_properties_of(connection))
            properties = pika.BasicProperties(
                delivery_mode=PERSISTENT,
                priority=message_priority(levels.level_of(task.priority, levels.top_share), kind),
                message_id=task.request_id,
                headers={HEADER: encode_dead_letter(letter)},
            )
            channel.basic_publish("", found.queue_name, build_envelope(task), properties, mandatory=True)
            _take_out(channel, found.queue_name, found.id, messages)

    @contextmanager
    def _open(self) -> Generator[tuple[pika.BlockingConnection, BlockingChannel]]:
        try:
            with pika.BlockingConnection(self._parameters) as connection:
                yield connection, connection.channel()
        except pika.exceptions.UnroutableError:
            raise TransportUnavailableError("its task queue does not exist: start a gateway or a worker") from None
        except CONNECTION_ERRORS as error:
            raise TransportUnavailableError(describe_failure(error)) from None


def _walk(channel: BlockingChannel, queue_name: str) -> Generator[_Message]:
    """Yield what lies in the dead-letter queue of a task queue now; a queue that does not exist is empty."""
    name = xq_name(queue_name)
    try:
        count = _count(channel, queue_name)
    except pika.exceptions.ChannelClosedByBroker as error:
        if error.reply_code == NOT_FOUND:
            return
        raise
    for _ in range(min(count, MOST_SEEN)):
        method, properties, body = channel.basic_get(name)
        if method is None or properties is None or body is None:
            return
        yield _Message(int(method.delivery_tag or 0), _read(queue_name, properties, body))


def _take_out(channel: BlockingChannel, queue_name: str, task_id: str, messages: list[_Message]) -> int:
    """Remove one letter with its copies, put the others back, and return how many copies there were."""
    tags = [message.tag for message in messages if message.found.id == task_id]
    for tag in tags:
        channel.basic_ack(tag)
    _put_back(channel, queue_name, len(messages) - len(tags))
    return len(tags)


def _put_back(channel: BlockingChannel, queue_name: str, count: int) -> None:
    """Give back what was taken, and wait a moment until the queue counts so many again."""
    if not count:
        return
    channel.basic_nack(0, multiple=True, requeue=True)
    give_up_at = time.monotonic() + PUT_BACK_SECONDS
    while _count(channel, queue_name) < count and time.monotonic() < give_up_at:
        time.sleep(PUT_BACK_POLL_SECONDS)


def _count(channel: BlockingChannel, queue_name: str) -> int:
    return int(channel.queue_declare(xq_name(queue_name), passive=True).method.message_count or 0)


def _read(queue_name: str, properties: BasicProperties, body: bytes) -> DeadTaskFound:
    headers: dict[str, Any] = dict(properties.headers or {})
    letter = decode_dead_letter(headers.get(HEADER)) or _letter_of_broker(headers)
    task_id = properties.message_id or f"body-{hashlib.sha256(body).hexdigest()[:12]}"
    return DeadTaskFound(id=task_id, queue_name=queue_name, letter=letter, task=_task_in(body))


def _task_in(body: bytes) -> GenerationTask | None:
    try:
        return decode_task(decode_envelope(body).args[0])
    except (DecodeError, CodecError, IndexError, TypeError, KeyError):
        return None


def _letter_of_broker(headers: dict[str, Any]) -> DeadLetter:
    """Return what the broker itself says of a message that it moved here."""
    deaths: list[Any] = headers.get("x-death") or []
    if not deaths:
        return DeadLetter(reason="unknown", died_at=0.0)
    at = deaths[0].get("time")
    return DeadLetter(
        reason=f"moved by the broker: {deaths[0].get('reason')}", died_at=at.timestamp() if at is not None else 0.0
    )
