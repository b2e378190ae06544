"""What breaks: each fault does its harm, waits a while, and makes good again, so that there is always a way on."""

import random
import signal
import time
from collections.abc import Callable
from typing import Protocol

from headrace.apps.cli.nodes import RunningNode
from tests.support.processes import Deployment, Process, wait_for
from tests.support.rabbitmqctl import rabbitmqctl

MOST_DOWN_SECONDS = 1.5
NO_MEMORY, MUCH_MEMORY = ("0",), ("absolute", "1GB")


class Fault(Protocol):
    """Does its harm, and makes good again."""

    def __call__(self, site: "Site", dice: random.Random) -> None: ...


class Site:
    """All that can be broken.

    Attributes:
        broker: RabbitMQ.
        redis: Redis.
        workers: those that run.
    """

    def __init__(self, deployed: Deployment, *, broker: RunningNode, redis: RunningNode) -> None:
        self.broker = broker
        self.redis = redis
        self.workers: list[Process] = []
        self._deployed = deployed

    def add_worker(self) -> None:
        """Start one, and wait until it takes tasks."""
        self.workers.append(self._deployed.start("worker"))

    def wait_workers(self) -> None:
        """Wait until every worker takes tasks."""
        for worker in self.workers:
            wait_for(lambda worker=worker: worker.has_logged("worker ready"), f"the worker is ready: {worker.log}")

    def take_worker(self, dice: random.Random) -> Process:
        """Return a worker that is not among them any more."""
        return self.workers.pop(dice.randrange(len(self.workers)))


def kill_worker(site: Site, dice: random.Random) -> None:
    """A worker is gone without a word, and another one comes."""
    worker = site.take_worker(dice)
    worker.child.kill()
    worker.child.wait()
    site.add_worker()


def replace_worker(site: Site, dice: random.Random) -> None:
    """A worker is asked to stop, as in a rollout, after its successor was started."""
    site.add_worker()
    site.take_worker(dice).child.send_signal(signal.SIGTERM)


def freeze_worker(site: Site, dice: random.Random) -> None:
    """A worker stands still for a while."""
    worker = dice.choice(site.workers)
    worker.child.send_signal(signal.SIGSTOP)
    time.sleep(dice.uniform(0.2, MOST_DOWN_SECONDS))
    worker.child.send_signal(signal.SIGCONT)


def kill_broker(site: Site, dice: random.Random) -> None:
    """RabbitMQ crashes and is started again."""
    site.broker.kill()
    time.sleep(dice.uniform(0.0, MOST_DOWN_SECONDS))
    site.broker.start()


def kill_redis(site: Site, dice: random.Random) -> None:
    """Redis crashes and is started again."""
    site.redis.kill()
    time.sleep(dice.uniform(0.0, MOST_DOWN_SECONDS))
    site.redis.start()


def alarm_broker(site: Site, dice: random.Random) -> None:
    """RabbitMQ has no memory left, and reads from no publisher, for a while."""
    rabbitmqctl(site.broker, "set_vm_memory_high_watermark", *NO_MEMORY)
    time.sleep(dice.uniform(0.0, MOST_DOWN_SECONDS))
    rabbitmqctl(site.broker, "set_vm_memory_high_watermark", *MUCH_MEMORY)


def close_connections(site: Site, dice: random.Random) -> None:
    """RabbitMQ closes every connection."""
    rabbitmqctl(site.broker, "close_all_connections", "chaos")


FAULTS: dict[str, Callable[[Site, random.Random], None]] = {
    "kill-worker": kill_worker,
    "replace-worker": replace_worker,
    "freeze-worker": freeze_worker,
    "kill-broker": kill_broker,
    "kill-redis": kill_redis,
    "alarm-broker": alarm_broker,
    "close-connections": close_connections,
}
