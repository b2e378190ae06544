"""Private RabbitMQ, Redis and PostgreSQL nodes on this machine: how each is started, as plain values.

The stack hands these values to its supervisor, and the integration tests start them as their own children, so both run
the same nodes. A node listens on loopback only, keeps everything below its own folder, and ends when its parent does.
"""

from headrace.apps.cli.nodes.base import NodeFile, NodeProcess, free_ports, prepare
from headrace.apps.cli.nodes.executables import MissingServiceError, Service, Services, find_services
from headrace.apps.cli.nodes.launch import (
    NodeStartError,
    RunningNode,
    running_postgresql,
    running_rabbitmq,
    running_redis,
    wait_until,
)
from headrace.apps.cli.nodes.postgresql import PostgresqlNode
from headrace.apps.cli.nodes.probes import (
    AmqpProbe,
    EpmdProbe,
    HttpProbe,
    LogProbe,
    PostgresqlProbe,
    Probe,
    RedisProbe,
    answers,
)
from headrace.apps.cli.nodes.rabbitmq import RabbitMqNode
from headrace.apps.cli.nodes.redis import RedisNode

__all__ = [
    "AmqpProbe",
    "EpmdProbe",
    "HttpProbe",
    "LogProbe",
    "MissingServiceError",
    "NodeFile",
    "NodeProcess",
    "NodeStartError",
    "PostgresqlNode",
    "PostgresqlProbe",
    "Probe",
    "RabbitMqNode",
    "RedisNode",
    "RedisProbe",
    "RunningNode",
    "Service",
    "Services",
    "answers",
    "find_services",
    "free_ports",
    "prepare",
    "running_postgresql",
    "running_rabbitmq",
    "running_redis",
    "wait_until",
]
