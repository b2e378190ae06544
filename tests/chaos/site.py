"""All that can be broken: two gateways that share accounts and Redis, workers with a link each, RabbitMQ and Redis."""

import random
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from headrace.apps.cli.nodes import free_ports, running_rabbitmq, running_redis, wait_until
from headrace.scheduler.adopting import ANNOUNCE_SECONDS
from headrace.schema.settings.services import QueueType
from headrace.transport.redis.retention_scripts import RUNNING
from headrace.transport.retention.base import LEASE_SECONDS, RENEW_SECONDS
from tests.chaos.gateways import Gateway
from tests.chaos.ledger import ADMIN_KEY
from tests.support.links import Link
from tests.support.processes import Deployment, EngineKind, Process, deployment, is_ready, wait_for

GATEWAYS = 2
# Two engines that start at once on a busy machine take their time.
WORKER_SECONDS = 180.0
# A host that is cut off is to be noticed within a run.
HEARTBEAT = {"HEADRACE_BROKER_HEARTBEAT_SECONDS": "2"}
ACCOUNTS = {"HEADRACE_ACCOUNTS_ENABLED": "true", "HEADRACE_ACCOUNTS_ADMIN_KEY": ADMIN_KEY}
# Another gateway adopts what a lease has run out of, and workers tell it what they have.
ADOPTED_SECONDS = LEASE_SECONDS + 2 * ANNOUNCE_SECONDS
# A gateway writes again what Redis has lost when it next renews its leases.
REWRITTEN_SECONDS = RENEW_SECONDS * 2


@dataclass(frozen=True)
class Host:
    """A worker, and its way to the services."""

    worker: Process
    link: Link

    @property
    def is_ready(self) -> bool:
        """Whether it takes tasks."""
        return self.worker.has_logged("worker ready")


class Site:
    """What runs.

    Attributes:
        broker: RabbitMQ.
        redis: Redis.
        gateways: those that clients know.
        hosts: workers that run.
        database: the file of the accounts.
    """

    def __init__(self, folder: Path, *, engine: EngineKind, queue_type: QueueType, stack: ExitStack) -> None:
        (folder / "rabbitmq").mkdir()
        (folder / "redis").mkdir()
        node, self.broker = stack.enter_context(running_rabbitmq(folder / "rabbitmq"))
        redis_node, self.redis = stack.enter_context(running_redis(folder / "redis"))
        self._broker_url, self._redis_url = node.url, redis_node.url
        self._stack = stack
        self._deployed: Deployment = stack.enter_context(
            deployment(node, folder, redis_url=redis_node.url, engine=engine, queue_type=queue_type)
        )
        self.gateways = [
            Gateway(f"http://127.0.0.1:{port}", self._start_gateway(port)) for port in free_ports(GATEWAYS)
        ]
        self.hosts: list[Host] = []
        self.database = folder / ".headrace" / "accounts.sqlite3"
        self._redis_back_at = self._gateway_killed_at = 0.0
        self._restart: threading.Thread | None = None

    def _start_gateway(self, port: int) -> Process:
        return self._deployed.start("gateway", HEADRACE_GATEWAY_PORT=str(port), **ACCOUNTS)

    def add_worker(self) -> None:
        """Start one, on a host of its own."""
        link = self._stack.enter_context(Link(self._broker_url, self._redis_url))
        urls = {"HEADRACE_BROKER_URL": link.urls[0], "HEADRACE_REDIS_URL": link.urls[1]}
        self.hosts.append(Host(self._deployed.start("worker", **urls, **HEARTBEAT), link))

    def pick_host(self, dice: random.Random) -> Host:
        """Return one as soon as another one takes tasks as well: there is always a way on."""
        if not wait_until(lambda: sum(host.is_ready for host in self.hosts) > 1, seconds=WORKER_SECONDS):
            logs = ", ".join(str(host.worker.log) for host in self.hosts)
            raise RuntimeError(f"the workers do not become ready: {logs}")
        return dice.choice(self.hosts)

    def take_worker(self, dice: random.Random) -> Process:
        """Return a worker that is not among them any more, as soon as nothing but it would be lost.

        The end of an answer that a gateway had not written when it was killed is its worker's alone, until another
        gateway has adopted it and was told.
        """
        self.wait_adopted()
        host = self.pick_host(dice)
        self.hosts.remove(host)
        return host.worker

    def wait_ready(self) -> None:
        """Wait until every worker takes tasks, and every gateway requests."""
        if not wait_until(lambda: all(host.is_ready for host in self.hosts), seconds=WORKER_SECONDS):
            raise RuntimeError("the workers do not become ready")
        for gateway in self.gateways:
            wait_for(lambda gateway=gateway: is_ready(gateway.address), f"it is ready: {gateway.process.log}")

    def kill_gateway(self, gateway: Gateway) -> None:
        """Kill a gateway as soon as nothing but it would be lost.

        What it wrote before Redis was killed must be there again, and what the last one left must have an owner: a
        generation is not promised to outlive its gateway and its log at once.
        """
        self.wait_restarted()
        time.sleep(max(0.0, self._redis_back_at + REWRITTEN_SECONDS - time.monotonic()))
        self.wait_adopted()
        gateway.kill()
        self._gateway_killed_at = time.monotonic()

    def restart_gateway(self, gateway: Gateway) -> None:
        """Start one again that was killed; clients go to it when it is ready. Other things may break until then."""
        process = self._start_gateway(int(gateway.address.rpartition(":")[2]))
        self._restart = threading.Thread(target=self._take_over, args=(gateway, process))
        self._restart.start()

    def _take_over(self, gateway: Gateway, process: Process) -> None:
        if wait_until(lambda: is_ready(gateway.address), seconds=WORKER_SECONDS):
            gateway.take_over(process)

    def wait_restarted(self) -> None:
        """Wait until every gateway is there."""
        if self._restart is not None:
            self._restart.join()
        if down := [gateway for gateway in self.gateways if not gateway.is_up]:
            raise RuntimeError(f"the gateway does not become ready again: {down[0].address}")

    def kill_redis(self) -> None:
        """Kill Redis as soon as every log in it has an owner, who will write it again."""
        self.wait_adopted()
        self.redis.kill()

    def restart_redis(self) -> None:
        """Start it again, with nothing in it."""
        self.redis.start()
        self._redis_back_at = time.monotonic()

    def wait_adopted(self) -> None:
        """Wait until all that the last gateway left that was killed has an owner, who was told where it stands."""
        time.sleep(max(0.0, self._gateway_killed_at + ADOPTED_SECONDS - time.monotonic()))
        with redis.Redis.from_url(self._redis_url) as client:  # pyright: ignore[reportUnknownMemberType]
            wait_for(lambda: self._count_orphans(client) == 0, "what a killed gateway left was adopted")

    @staticmethod
    def _count_orphans(client: "redis.Redis") -> int:
        now = int(time.time() * 1000)
        return int(client.zcount(RUNNING, "-inf", now))


@contextmanager
def running_site(
    folder: Path, *, engine: EngineKind, workers: int, queue_type: QueueType = "classic"
) -> Generator[Site]:
    """Start everything, and end it."""
    with ExitStack() as stack:
        site = Site(folder, engine=engine, queue_type=queue_type, stack=stack)
        for _ in range(workers):
            site.add_worker()
        site.wait_ready()
        yield site
