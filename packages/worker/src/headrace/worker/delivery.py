"""A task in hand, bound to the consumer that delivered it."""

import contextlib
from contextvars import ContextVar

import structlog
from dramatiq import Broker
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed

from headrace.schema.dead_letter import DeadLetter
from headrace.transport.delivered import TaskMessage
from headrace.transport.envelope import COPY_OPTION

MessageKey = tuple[str, int]

_log = structlog.get_logger("headrace.worker")


class Delivery:
    """One delivery of one message.

    Delivery tags start again at 1 on every channel, so a message may only be settled by the consumer object that
    delivered it: a stale acknowledgement could settle a different message.
    """

    def __init__(self, message: MessageProxy, *, consumer: Consumer, broker: Broker) -> None:
        self.message = message
        self._consumer = consumer
        self._broker = broker

    @property
    def key(self) -> MessageKey:
        """The message and which copy of its task it is: what tells a redelivery from another message."""
        return self.message.message_id, int(self.message.options.get(COPY_OPTION, 0))

    @property
    def is_redelivered(self) -> bool:
        """Whether the broker delivered the message before, here or elsewhere."""
        return bool(getattr(self.message, "redelivered", False))

    def is_of(self, consumer: Consumer) -> bool:
        """Tell whether it came from this consumer, so that the broker waits for an answer to it there."""
        return self._consumer is consumer

    def shares_consumer(self, other: "Delivery") -> bool:
        """Tell whether both came from one consumer."""
        return other.is_of(self._consumer)

    def fail(self, letter: DeadLetter) -> None:
        """Mark the message as one that is not tried again."""
        self.message.fail()
        if isinstance(self.message, TaskMessage):
            self.message.dead_letter = letter

    def settle(self) -> None:
        """Acknowledge the message, or dead-letter it if it was marked as failed.

        Never blocks. Where the connection is gone the broker delivers the message again, and it is settled again, as
        it was before.
        """
        signal, settle = ("nack", self._consumer.nack) if self.message.failed else ("ack", self._consumer.ack)
        try:
            self._broker.emit_before(signal, self.message)
            settle(self.message)
            self._broker.emit_after(signal, self.message)
        except ConnectionClosed as error:
            _log.warning("acknowledgement lost", request_id=self.message.message_id, reason=str(error))

    def give_back(self) -> None:
        """Put the message back into its queue at once, for another worker. Never blocks."""
        with contextlib.suppress(ConnectionClosed):
            # Where the connection is gone, the broker has it back already.
            self._consumer.requeue([self.message])


current_delivery: ContextVar[Delivery] = ContextVar("current_delivery")
