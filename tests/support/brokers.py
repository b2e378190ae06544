"""Which RabbitMQ a test has met, and what its task queues can do."""

import pytest

from headrace.apps.cli.nodes import RabbitMqNode
from headrace.schema.settings import BrokerSettings, Secret
from headrace.schema.settings.services import QueueType
from headrace.transport.rabbitmq import inspect_broker
from headrace.transport.rabbitmq.topology import QUORUM_STRICT_PRIORITIES, QueueKind


def settings_of(
    node: RabbitMqNode, queue_type: QueueType = "classic", *, reconnect_seconds: float | None = None
) -> BrokerSettings:
    """Return settings that reach a node."""
    password = Secret(node.password)
    if reconnect_seconds is None:
        return BrokerSettings(url=node.url, username=node.username, password=password, queue_type=queue_type)
    return BrokerSettings(
        url=node.url,
        username=node.username,
        password=password,
        queue_type=queue_type,
        reconnect_seconds=reconnect_seconds,
    )


def kind_of(settings: BrokerSettings) -> QueueKind:
    """Ask a broker for its version, and return what the task queues of these settings are there. It blocks."""
    return inspect_broker(settings, []).kind


def need_strict_priorities(kind: QueueKind) -> None:
    """Skip a test of strict levels where queues have none.

    What is there instead, tests/integration/rabbitmq/test_priorities.py says.
    """
    if kind.queue_type == "quorum" and kind.version < QUORUM_STRICT_PRIORITIES:
        major, minor = kind.version
        pytest.skip(f"a quorum queue of RabbitMQ {major}.{minor} has no strict priorities")
