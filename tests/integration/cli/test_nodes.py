"""Private RabbitMQ and Redis nodes: they start, answer, stop, and never outlive who started them."""

import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from headrace.apps.cli.nodes import (
    AmqpProbe,
    NodeStartError,
    RabbitMqNode,
    RunningNode,
    answers,
    find_services,
    free_ports,
    prepare,
    running_postgresql,
    running_rabbitmq,
    running_redis,
)
from tests.support.process_tree import listening, survivors, tree

pytestmark = [pytest.mark.services, pytest.mark.timeout(150), pytest.mark.usefixtures("services_here")]

PARENT = """
import sys, time
from pathlib import Path
from headrace.apps.cli.nodes import running_rabbitmq, running_redis

with running_rabbitmq(Path(sys.argv[1])), running_redis(Path(sys.argv[2])):
    print("ready", flush=True)
    time.sleep(600)
"""


@contextmanager
def parent_of_nodes(folder: Path) -> Generator[subprocess.Popen[str]]:
    """Another process that runs both nodes."""
    command = [sys.executable, "-c", PARENT, str(folder / "rabbitmq"), str(folder / "redis")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        try:
            yield parent
        finally:
            parent.kill()


def test_a_rabbitmq_node_starts_is_killed_starts_again_and_leaves_nothing(tmp_path: Path) -> None:
    others = set(psutil.Process().children())
    with running_rabbitmq(tmp_path) as (node, broker):
        assert answers(AmqpProbe(node.port))
        assert psutil.Process(broker.pid).name().startswith("beam"), "the pid is the broker's own"
        processes = [found for child in psutil.Process().children() if child not in others for found in tree(child.pid)]
        assert listening(processes) <= {"127.0.0.1", "::1"}
        broker.kill()
        assert not answers(AmqpProbe(node.port))
        broker.start()
        assert answers(AmqpProbe(node.port))
        started = [child for child in psutil.Process().children() if child not in others]
        processes += [found for child in started for found in tree(child.pid)]
    assert survivors(processes, seconds=5) == []


def test_a_redis_node_starts_stops_and_starts_again(tmp_path: Path) -> None:
    with running_redis(tmp_path) as (_node, redis):
        first = redis.pid
        redis.stop()
        redis.start()
        processes = tree(redis.pid)
        assert redis.pid != first
        assert answers(redis.process.probe)
    assert survivors(processes, seconds=5) == []


def test_a_postgresql_node_starts_stops_starts_again_and_leaves_nothing() -> None:
    with running_postgresql() as (node, postgresql):
        assert answers(postgresql.process.probe)
        processes = tree(postgresql.pid)
        postgresql.stop()
        assert not answers(postgresql.process.probe)
        postgresql.start()
        processes += tree(postgresql.pid)
        assert listening(processes) == {"127.0.0.1"}
    assert survivors(processes, seconds=5) == []
    assert not node.folder.exists()


def test_nodes_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    with parent_of_nodes(tmp_path) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        processes = tree(parent.pid)
        assert len(processes) >= 4, "the parent, epmd, the broker and Redis"
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert survivors(processes, seconds=15) == []


def test_a_node_that_can_not_start_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    with running_redis(tmp_path / "redis") as (taken, _redis):
        dist_port, epmd_port = free_ports(2)
        node = RabbitMqNode(folder=tmp_path / "rabbitmq", port=taken.port, dist_port=dist_port, epmd_port=epmd_port)
        epmd, broker = (RunningNode(process) for process in node.processes(find_services()))
        for running in (epmd, broker):
            prepare(running.process)
        epmd.start()
        try:
            with pytest.raises(NodeStartError, match=rf"rabbitmq ended with code 1:(.|\n)*{taken.port}"):
                broker.start()
            with pytest.raises(RuntimeError, match="does not run"):
                _ = broker.pid
        finally:
            epmd.stop()
