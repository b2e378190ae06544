"""Nodes as values, and probes against answers that are nearly right."""

import signal
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec import structs

from headrace.apps.cli.environment import without_foreign_nodes
from headrace.apps.cli.nodes import (
    AmqpProbe,
    EpmdProbe,
    HttpProbe,
    LogProbe,
    MissingServiceError,
    NodeFile,
    NodeProcess,
    PostgresqlNode,
    PostgresqlProbe,
    Probe,
    RabbitMqNode,
    RedisNode,
    RedisProbe,
    Service,
    Services,
    answers,
    free_ports,
    prepare,
)

SERVICES = Services(rabbitmq=Service("/bin/rabbitmq", "4.1.0"), epmd="/bin/epmd", redis=Service("/bin/redis", "8.0.0"))
CONNECTION_START = b"\x01\x00\x00\x00\x00\x01\xf4\x00\x0a\x00\x0a\x00\x09"


@contextmanager
def one_answer(answer: bytes) -> Generator[int]:
    """A server on loopback that gives its first caller one answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(10)


def make_node(folder: Path, *, management_port: int | None = None) -> RabbitMqNode:
    return RabbitMqNode(folder=folder, port=1, dist_port=2, epmd_port=3, password="p", management_port=management_port)


@pytest.mark.parametrize(
    ("kind", "answer", "ready"),
    [
        (AmqpProbe, CONNECTION_START, True),
        (AmqpProbe, b"AMQP\x00\x00\x09\x01", False),
        (AmqpProbe, b"AMQP\x03\x01\x00\x00 and more", False),
        (AmqpProbe, b"", False),
        (RedisProbe, b"+PONG\r\n", True),
        (RedisProbe, b"-NOAUTH Authentication required.\r\n", True),
        (RedisProbe, b"-LOADING\r\n", False),
        (PostgresqlProbe, b"R\x00\x00\x00\x17", True),
        (PostgresqlProbe, b"E\x00\x00\x00\x60SFATAL", False),
        (HttpProbe, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (HttpProbe, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", False),
        (HttpProbe, b"SSH-2.0-x\r\n", False),
    ],
)
def test_a_probe_wants_the_real_answer(kind: type, answer: bytes, ready: bool) -> None:
    with one_answer(answer) as port:
        probe: Probe = HttpProbe(f"http://127.0.0.1:{port}/readyz") if kind is HttpProbe else kind(port)
        assert answers(probe) is ready


def test_the_port_mapper_answers_with_its_own_port() -> None:
    with one_answer(b"\x00\x00\x00\x01") as port:
        assert not answers(EpmdProbe(port))
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.listen()
        assert not answers(EpmdProbe(server.getsockname()[1]), timeout_seconds=0.05)


def test_a_log_is_ready_when_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "log"
    assert not answers(LogProbe(path, "worker ready"))
    path.write_text('{"event":"worker ready"}\n')
    assert answers(LogProbe(path, "worker ready"))
    assert not answers(LogProbe(path, "worker ready", offset=path.stat().st_size))


def test_nobody_at_a_port_is_not_ready() -> None:
    assert not answers(AmqpProbe(free_ports(1)[0]))


def test_a_broker_keeps_to_itself(tmp_path: Path) -> None:
    port_mapper, broker = make_node(tmp_path).processes(SERVICES)
    assert port_mapper.command[-5:] == ("/bin/epmd", "-address", "127.0.0.1", "-port", "3")
    assert broker.command[-1] == "/bin/rabbitmq"
    assert "listeners.tcp.local = 127.0.0.1:1" in broker.files[-1].text
    places = [value for name, value in broker.environment.items() if name.endswith(("_BASE", "_FILE", "_DIR", "HOME"))]
    assert all(Path(place).is_relative_to(tmp_path) for place in places)


def test_the_management_page_is_a_choice(tmp_path: Path) -> None:
    plain = {file.path.name: file.text for file in make_node(tmp_path).processes(SERVICES)[1].files}
    managed = {
        file.path.name: file.text for file in make_node(tmp_path, management_port=9).processes(SERVICES)[1].files
    }
    assert plain["enabled_plugins"] == "[].\n"
    assert "management" not in plain["rabbitmq.conf"]
    assert managed["enabled_plugins"] == "[rabbitmq_management].\n"
    assert "management.tcp.port = 9" in managed["rabbitmq.conf"]


def test_redis_keeps_nothing(tmp_path: Path) -> None:
    (redis,) = RedisNode(folder=tmp_path, port=7).processes(SERVICES)
    words = redis.command[redis.command.index("/bin/redis") :]
    assert dict(zip(words[1::2], words[2::2], strict=True)) == {
        "--port": "7",
        "--bind": "127.0.0.1",
        "--save": "",
        "--appendonly": "no",
        "--daemonize": "no",
    }


def test_files_are_written_for_their_owner_alone_and_may_be_written_again(tmp_path: Path) -> None:
    cookie = tmp_path / "node" / ".cookie"
    process = NodeProcess(
        name="n", command=("x",), folder=tmp_path / "node", probe=RedisProbe(1), files=(NodeFile(cookie, "a", 0o400),)
    )
    prepare(process)
    prepare(process)
    assert cookie.read_text() == "a"
    assert cookie.stat().st_mode & 0o777 == 0o400


def test_free_ports_differ() -> None:
    assert len(set(free_ports(20))) == 20


def test_the_environment_of_another_node_does_not_reach_ours() -> None:
    environ = {"PATH": "/bin", "RABBITMQ_NODENAME": "x", "ERL_EPMD_PORT": "1", "NOTIFY_SOCKET": "/s"}
    assert without_foreign_nodes(environ) == {"PATH": "/bin"}


def test_a_postgresql_node_hides_its_password_and_listens_on_loopback(tmp_path: Path) -> None:
    services = structs.replace(SERVICES, postgresql=("/pg/initdb", "/pg/postgres"))
    node = PostgresqlNode(folder=tmp_path, port=7, password="a secret")
    (process,) = node.processes(services)
    assert "a secret" not in " ".join(process.command)
    assert process.environment["HEADRACE_NODE_PASSWORD"] == "a secret"
    assert "listen_addresses=127.0.0.1" in process.command
    assert process.stop_signal == signal.SIGINT
    assert node.url == "postgresql://127.0.0.1:7/postgres"
    with pytest.raises(MissingServiceError, match="just test-services"):
        node.processes(SERVICES)
    assert SERVICES.missing == []
