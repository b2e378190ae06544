"""TLS to real services: a certificate that is trusted, one that is not, and a service that asks for ours."""

import asyncio
from pathlib import Path

import dramatiq
import pytest
from msgspec import structs

from headrace.apps.cli.nodes import RabbitMqNode, RedisNode
from headrace.schema.settings import BrokerSettings, RedisSettings
from headrace.transport.base import TransportUnavailableError
from headrace.transport.rabbitmq import RabbitmqSchedulerTransport, RabbitmqWorkerTransport
from headrace.transport.redis import RedisProbe
from tests.support.recorders import ControlRecorder, ReplyRecorder
from tests.support.tls import Authority, make_authority, tls_front

WAIT_SECONDS = 20


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


async def test_the_broker_over_tls_asks_for_our_certificate(
    rabbitmq_node: RabbitMqNode, broker_settings: BrokerSettings, authority: Authority
) -> None:
    async with tls_front(authority, rabbitmq_node.port, asks_clients=True) as port:
        settings = structs.replace(
            broker_settings,
            url=f"amqps://127.0.0.1:{port}/%2F",
            tls_ca_file=str(authority.ca_file),
            tls_certificate_file=str(authority.client_file),
        )
        scheduler = RabbitmqSchedulerTransport(settings, replica_id="tls", models=["tls-model"])
        worker = RabbitmqWorkerTransport(settings)
        async with asyncio.timeout(WAIT_SECONDS):
            await scheduler.start(ReplyRecorder())
            await worker.start(ControlRecorder(), worker_id="tls-worker", models=["tls-model"])
            await scheduler.wait_ready()
            await worker.wait_ready()
            await asyncio.to_thread(_declare, worker.broker)
        await worker.close()
        await scheduler.close()


def _declare(broker: dramatiq.Broker) -> None:
    """Use the blocking connections, which are made apart from the others."""
    broker.declare_queue("headrace.tls-model.tasks", ensure=True)  # pyright: ignore[reportCallIssue]


async def test_a_broker_with_a_strange_certificate_is_not_spoken_to(
    rabbitmq_node: RabbitMqNode, broker_settings: BrokerSettings, authority: Authority
) -> None:
    async with tls_front(authority, rabbitmq_node.port) as port:
        settings = structs.replace(broker_settings, url=f"amqps://127.0.0.1:{port}/%2F")
        scheduler = RabbitmqSchedulerTransport(settings, replica_id="tls", models=["tls-model"])
        await scheduler.start(ReplyRecorder())
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await scheduler.wait_ready()
        with pytest.raises(TransportUnavailableError, match="certificate"):
            await scheduler.check()
        await scheduler.close()


async def test_redis_over_tls(redis_node: RedisNode, authority: Authority) -> None:
    async with tls_front(authority, redis_node.port, asks_clients=True) as port:
        url = f"rediss://127.0.0.1:{port}/0"
        ca_file, own_file = str(authority.ca_file), str(authority.client_file)
        trusting = RedisProbe(RedisSettings(url=url, tls_ca_file=ca_file, tls_certificate_file=own_file))
        strange = RedisProbe(RedisSettings(url=url))
        await trusting.check()
        with pytest.raises(TransportUnavailableError):
            await strange.check()
        await trusting.close()
        await strange.close()
