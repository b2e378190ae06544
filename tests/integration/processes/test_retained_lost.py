"""A retained answer whose worker has finished, acknowledged and died, and whose gateway died before it kept the end."""

import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from headrace.apps.cli.nodes import RedisNode, RunningNode, running_rabbitmq
from headrace.schema.names import task_queue_name
from headrace.schema.settings.services import QueueType
from tests.integration.processes.test_retained import assert_whole, begin, count_runs, go_on
from tests.support.processes import MODEL, WAIT_SECONDS, Deployment, deployment, wait_for
from tests.support.rabbitmqctl import rabbitmqctl

pytestmark = [pytest.mark.services, pytest.mark.timeout(180)]


@pytest.fixture
def deployed(
    redis_node: RedisNode, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, queue_type: QueueType
) -> Generator[tuple[Deployment, RunningNode]]:
    """Processes, and the broker that they use, which is asked how its queues stand."""
    with (
        running_rabbitmq(tmp_path_factory.mktemp("rabbitmq-own")) as (node, process),
        deployment(node, tmp_path, redis_url=redis_node.url, queue_type=queue_type) as deployed,
    ):
        yield deployed, process


def is_acknowledged(broker: RunningNode) -> bool:
    """Tell whether nothing waits in the task queue, and nobody holds anything out of it."""
    lines = [line.split() for line in rabbitmqctl(broker, "list_queues", "name", "messages").splitlines()]
    return [task_queue_name(MODEL), "0"] in lines


def test_what_nobody_has_any_more_is_run_on_by_a_worker_that_comes_later(
    deployed: tuple[Deployment, RunningNode],
) -> None:
    processes, broker = deployed
    gateway = processes.start_gateway()
    worker = processes.start_worker()
    first = begin(processes.address)
    assert first.enough.wait(WAIT_SECONDS)
    # It keeps nothing from now on, whatever it is sent.
    gateway.child.send_signal(signal.SIGSTOP)
    wait_for(lambda: count_runs(worker) == 1, "the worker has finished")
    wait_for(lambda: is_acknowledged(broker), "the broker has forgotten the task")
    gateway.child.kill()
    worker.child.kill()
    first.finish()
    other, address = processes.start_another_gateway()
    rest = go_on(address, first)
    second = processes.start_worker()
    assert_whole(first, rest)
    assert other.has_logged("adopted task published again")
    wait_for(lambda: count_runs(second) == 1, "the new worker ran it once, to its end")
