"""Names in the broker. Both sides compute them, so they live with the values."""

import re
from typing import Literal, get_args

CONTROL_EXCHANGE = "headrace.control"
REPLY_EXCHANGE = "headrace.reply"
GENERATE_ACTOR = "generate"

Lane = Literal["online", "batch"]
"""Somebody waits for an answer on the online lane; the batch lane takes what is left over."""
LANES: tuple[Lane, ...] = get_args(Lane)

_LANE_SUFFIXES: dict[Lane, str] = {"online": "tasks", "batch": "batch"}
_UNSAFE = re.compile(r"[^a-zA-Z0-9.\-]")


def task_queue_name(model: str, lane: Lane = "online") -> str:
    """Return the task queue of one lane of a model.

    Characters that a queue name may not have are written as `_` and the hex of their UTF-8 bytes, so two models never
    share a queue. The suffix keeps a model's name from looking like a dead-letter queue's.
    """
    safe = _UNSAFE.sub(lambda match: "".join(f"_{byte:02x}" for byte in match.group().encode()), model)
    return f"headrace.{safe}.{_LANE_SUFFIXES[lane]}"


def dead_letter_queue_name(model: str, lane: Lane = "online") -> str:
    """Return the queue that keeps the tasks of one lane of a model that could not be decoded or run."""
    return f"{task_queue_name(model, lane)}.XQ"


def reply_queue_name(reply_address: str, epoch: int) -> str:
    """Return the reply queue of one connection of one scheduler replica.

    The epoch counts connections: the broker may hold the queue of a lost connection for a while, and would not give its
    name to the next. The reply address is bound to each of them in turn, and stays the same.
    """
    return f"headrace.reply.{reply_address}.{epoch}"


def control_queue_name(worker_id: str) -> str:
    """Return the control queue of one worker replica."""
    return f"headrace.control.{worker_id}"


def reply_channel(reply_address: str) -> str:
    """Return the channel of the relay on which one scheduler replica hears replies."""
    return f"replies.{reply_address}"


def control_channel(worker_id: str) -> str:
    """Return the channel of the relay on which one worker hears control messages."""
    return f"control.{worker_id}"


def worker_control_key(worker_id: str) -> str:
    """Return the routing key that reaches one worker."""
    return f"worker.{worker_id}"


def worker_of_key(routing_key: str) -> str | None:
    """Return the worker that a routing key reaches, or None if it is not one worker's."""
    prefix = worker_control_key("")
    return routing_key.removeprefix(prefix) if routing_key.startswith(prefix) else None


def model_control_key(model: str) -> str:
    """Return the routing key that reaches every worker of a model."""
    return f"model.{model}"
