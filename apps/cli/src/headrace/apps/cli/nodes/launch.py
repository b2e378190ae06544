"""Nodes as children of this process: for tests, and for anything that wants a broker for as long as it runs.

Synchronous on purpose, and to be used from the main thread: a node ends with the thread that started it.
"""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from headrace.apps.cli.environment import read_environment, without_foreign_nodes
from headrace.apps.cli.nodes.base import NodeProcess, free_ports, prepare
from headrace.apps.cli.nodes.executables import find_services
from headrace.apps.cli.nodes.postgresql import PostgresqlNode, give_to_node_user
from headrace.apps.cli.nodes.probes import answers
from headrace.apps.cli.nodes.rabbitmq import RabbitMqNode
from headrace.apps.cli.nodes.redis import RedisNode

POLL_SECONDS = 0.02
START_SECONDS = 60.0
LOG_TAIL_LINES = 20


class NodeStartError(RuntimeError):
    """A node did not become ready; the message ends with the last lines of its log."""


def wait_until(claim: Callable[[], bool], *, seconds: float) -> bool:
    """Wait for a claim to become true; False when it does not in time."""
    deadline = time.monotonic() + seconds
    while not claim():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


class RunningNode:
    """One process of a node, started by us: it can be stopped, killed and started again.

    Attributes:
        process: what runs.
        log: the file with everything that it wrote.
    """

    def __init__(self, process: NodeProcess) -> None:
        self.process = process
        self.log = process.folder / f"{process.name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id; raises RuntimeError when it does not run."""
        if self._child is None:
            raise RuntimeError(f"{self.process.name} does not run")
        return self._child.pid

    def start(self) -> None:
        """Start it, and return when it is ready.

        Raises:
            NodeStartError: it ended, or did not answer in time. It does not run then.
        """
        environment = without_foreign_nodes(read_environment()) | self.process.environment
        with self.log.open("ab") as log:
            self._child = subprocess.Popen(
                self.process.command,
                env=environment,
                cwd=self.process.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        child = self._child
        wait_until(lambda: child.poll() is not None or answers(self.process.probe), seconds=START_SECONDS)
        code = child.poll()
        if code is not None or not answers(self.process.probe):
            self.kill()
            reason = f"did not answer within {START_SECONDS:g} s" if code is None else f"ended with code {code}"
            raise NodeStartError(f"{self.process.name} {reason}:\n{self.log_tail()}")

    def stop(self) -> None:
        """End it in order, and by force when that takes too long."""
        if self._child is None:
            return
        self._child.send_signal(self.process.stop_signal)
        try:
            self._child.wait(self.process.stop_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        self._child = None

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def log_tail(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])


@contextmanager
def running(processes: Sequence[NodeProcess]) -> Generator[list[RunningNode]]:
    """Run processes one after the other, each when the one before it is ready, and stop them in reverse order."""
    with ExitStack() as stack:
        nodes: list[RunningNode] = []
        for process in processes:
            prepare(process)
            node = RunningNode(process)
            stack.callback(node.stop)
            node.start()
            nodes.append(node)
        yield nodes


@contextmanager
def running_rabbitmq(folder: Path) -> Generator[tuple[RabbitMqNode, RunningNode]]:
    """Run a RabbitMQ node on free ports: yields its addresses, and the broker's process to kill or start again."""
    port, dist_port, epmd_port = free_ports(3)
    node = RabbitMqNode(folder=folder, port=port, dist_port=dist_port, epmd_port=epmd_port)
    with running(node.processes(find_services())) as processes:
        yield node, processes[-1]


@contextmanager
def running_redis(folder: Path) -> Generator[tuple[RedisNode, RunningNode]]:
    """Run a Redis node on a free port: yields its address, and its process to kill or start again."""
    node = RedisNode(folder=folder, port=free_ports(1)[0])
    with running(node.processes(find_services())) as processes:
        yield node, processes[-1]


@contextmanager
def running_postgresql() -> Generator[tuple[PostgresqlNode, RunningNode]]:
    """Run a PostgreSQL node on a free port: yields its address, and its process to stop or start again.

    It has a folder of its own in the system's temporary one, which is removed at the end: the folders of a test run are
    closed to the user that it runs as.
    """
    services = find_services()
    services.need_postgresql()
    folder = Path(tempfile.mkdtemp(prefix="headrace-postgresql-"))
    try:
        give_to_node_user(folder)
        node = PostgresqlNode(folder=folder, port=free_ports(1)[0])
        with running(node.processes(services)) as processes:
            yield node, processes[-1]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
