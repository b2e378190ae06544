"""How to tell that a process is ready: it answers in its own protocol.

A port that accepts is not enough: RabbitMQ listens before it can serve, and so may a stranger on the same port. These
probes speak plain sockets, so that nothing here needs a client library.
"""

import http.client
import socket
import ssl
import struct
from collections.abc import Callable
from pathlib import Path
from typing import assert_never
from urllib.parse import urlsplit

from msgspec import Struct

LOOPBACK = "127.0.0.1"
AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
AMQP_METHOD_FRAME = 1
CONNECTION_START = (10, 10)
# Its own length, version 3.0, and a user whom nobody needs to know.
POSTGRESQL_LOGIN = b"\x00\x00\x00\x14\x00\x03\x00\x00user\x00probe\x00\x00\x00"
EPMD_NAMES_REQUEST = b"\x00\x01n"


class AmqpProbe(Struct, frozen=True, tag="amqp"):
    """Ready when an AMQP 0-9-1 broker opens the handshake."""

    port: int
    host: str = LOOPBACK


class RedisProbe(Struct, frozen=True, tag="redis"):
    """Ready when PING is answered; a server that wants a password first answers too."""

    port: int
    host: str = LOOPBACK


class PostgresqlProbe(Struct, frozen=True, tag="postgresql"):
    """Ready when a login is answered with a question for the password: while it starts, it answers with an error."""

    port: int
    host: str = LOOPBACK


class EpmdProbe(Struct, frozen=True, tag="epmd"):
    """Ready when Erlang's port mapper lists its names."""

    port: int
    host: str = LOOPBACK


class HttpProbe(Struct, frozen=True, tag="http"):
    """Ready when a GET is answered with 200."""

    url: str


class LogProbe(Struct, frozen=True, tag="log"):
    """Ready when the log file, from byte `offset` on, holds a text."""

    path: Path
    text: str
    offset: int = 0


Probe = AmqpProbe | RedisProbe | PostgresqlProbe | EpmdProbe | HttpProbe | LogProbe


def answers(probe: Probe, *, timeout_seconds: float = 1.0) -> bool:
    """Tell whether the process behind a probe is ready now. It never raises."""
    try:
        return _ask(probe, timeout_seconds)
    except (OSError, http.client.HTTPException):
        return False


def _ask(probe: Probe, timeout_seconds: float) -> bool:
    match probe:
        case AmqpProbe():
            return _exchange(probe.host, probe.port, AMQP_HEADER, 11, timeout_seconds, _is_connection_start)
        case RedisProbe():
            return _exchange(probe.host, probe.port, b"PING\r\n", 5, timeout_seconds, _is_pong)
        case PostgresqlProbe():
            return _exchange(probe.host, probe.port, POSTGRESQL_LOGIN, 1, timeout_seconds, _is_password_question)
        case EpmdProbe():
            return _exchange(probe.host, probe.port, EPMD_NAMES_REQUEST, 4, timeout_seconds, _is_any(probe.port))
        case HttpProbe():
            return get_status(probe.url, timeout_seconds=timeout_seconds)[0] == http.client.OK
        case LogProbe():
            with probe.path.open("rb") as log:
                log.seek(probe.offset)
                return probe.text.encode() in log.read()
        case _:
            assert_never(probe)


def get_status(url: str, *, timeout_seconds: float) -> tuple[int, bytes]:
    """GET an address and return its status and body. Who answers is not checked: nothing secret is sent.

    Raises:
        OSError: nothing answers.
        http.client.HTTPException: what answers is not HTTP.
    """
    parts = urlsplit(url)
    host = parts.hostname or LOOPBACK
    if parts.scheme == "https":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout_seconds, context=context)
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_seconds)
    try:
        connection.request("GET", parts.path or "/")
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _exchange(
    host: str, port: int, question: bytes, size: int, timeout_seconds: float, accept: Callable[[bytes], bool]
) -> bool:
    with socket.create_connection((host, port), timeout=timeout_seconds) as connection:
        connection.sendall(question)
        answer = b""
        while len(answer) < size and (more := connection.recv(size - len(answer))):
            answer += more
    return len(answer) == size and accept(answer)


def _is_connection_start(answer: bytes) -> bool:
    kind, channel, _size, class_id, method_id = struct.unpack(">BHIHH", answer)
    return (kind, channel) == (AMQP_METHOD_FRAME, 0) and (class_id, method_id) == CONNECTION_START


def _is_pong(answer: bytes) -> bool:
    return answer in (b"+PONG", b"-NOAU")


def _is_password_question(answer: bytes) -> bool:
    return answer == b"R"


def _is_any(port: int) -> Callable[[bytes], bool]:
    return lambda answer: struct.unpack(">I", answer)[0] == port
