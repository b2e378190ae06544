"""The worker's way back: what it tells, kept until it has arrived, over the broker or round it."""

from headrace.transport.replies.large import LargeReplies
from headrace.transport.replies.outbox import ReplyOutbox
from headrace.transport.replies.relay_pump import Relay
from headrace.transport.replies.routes import BrokerState
from headrace.transport.replies.stream import ReplyStream

__all__ = ["BrokerState", "LargeReplies", "Relay", "ReplyOutbox", "ReplyStream"]
