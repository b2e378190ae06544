# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""What pika's blocking connection says only by the way."""

from collections.abc import Mapping
from typing import Any

import pika
import pika.exceptions
from pika.adapters.blocking_connection import BlockingChannel

CONNECTION_ERRORS = (AssertionError, ValueError, pika.exceptions.AMQPError, OSError)
"""pika's blocking connection says with an AssertionError or a ValueError that it is closed already."""


def server_properties_of(connection: pika.BlockingConnection) -> Mapping[str, Any]:
    """Return what the broker says about itself."""
    shown: Any = connection
    return shown._impl.server_properties or {}  # noqa: SLF001 - pika shows it on its other connections only


def closing_reason_of(channel: BlockingChannel) -> Exception:
    """Return why the broker closed a channel."""
    inner: Any = channel
    reason: Exception | None = inner._closing_reason  # noqa: SLF001 - pika raises it only on the next use
    return reason or RuntimeError("the channel is closed")
