"""RabbitMQ: durable task queues, one exclusive reply queue for each scheduler connection, a control exchange.

Each side of the transport keeps one asyncio connection of its own (`link`) that connects again by itself. Tasks are
consumed by dramatiq, through a broker and a consumer of our own (`broker`, `consumer`), in a thread of its own.
"""

from headrace.transport.rabbitmq.broker import HeadraceRabbitmqBroker
from headrace.transport.rabbitmq.dead_letters import DeadLetterBox, DeadTaskFound
from headrace.transport.rabbitmq.inspection import BrokerFacts, inspect_broker
from headrace.transport.rabbitmq.parameters import build_parameters, check_url
from headrace.transport.rabbitmq.scheduler_side import RabbitmqSchedulerTransport
from headrace.transport.rabbitmq.worker_side import RabbitmqWorkerTransport

__all__ = [
    "BrokerFacts",
    "DeadLetterBox",
    "DeadTaskFound",
    "HeadraceRabbitmqBroker",
    "RabbitmqSchedulerTransport",
    "RabbitmqWorkerTransport",
    "build_parameters",
    "check_url",
    "inspect_broker",
]
