"""Tries the door of a broker or a Redis with the credentials of the settings, over plain sockets."""

import socket
import ssl
import struct
from urllib.parse import SplitResult, unquote, urlsplit

from headrace.apps.cli.nodes.probes import AMQP_HEADER, LOOPBACK
from headrace.schema.settings import BrokerSettings, RedisSettings

TIMEOUT_SECONDS = 3.0
AMQP_PORTS = {"amqp": 5672, "amqps": 5671}
REDIS_PORTS = {"redis": 6379, "rediss": 6379}
CONNECTION_START_OK = (10, 11)
CONNECTION_TUNE = (10, 30)
CONNECTION_CLOSE = (10, 50)
FRAME_END = b"\xce"


def find_broker_problem(settings: BrokerSettings) -> str | None:
    """Log in and leave again; return what is in the way."""
    parts = urlsplit(settings.url)
    if parts.scheme not in AMQP_PORTS:
        return f"{parts.scheme or 'no scheme'} is not amqp, amqps or memory"
    username = settings.username or unquote(parts.username or "guest")
    password = settings.password.reveal() if settings.password else unquote(parts.password or "guest")
    try:
        with _connect(parts, AMQP_PORTS[parts.scheme], tls=parts.scheme == "amqps") as connection:
            connection.sendall(AMQP_HEADER)
            _read_method(connection)
            connection.sendall(_start_ok(username, password))
            answer = _read_method(connection)
    except ConnectionResetError:
        return f"it refuses the user {username} or the password"
    except OSError as error:
        return f"can't be reached: {error.strerror or error}"
    except ValueError as error:
        return f"its address can't be read: {error}"
    if answer in (None, CONNECTION_CLOSE):
        return f"it refuses the user {username} or the password"
    return None if answer == CONNECTION_TUNE else "it does not answer as an AMQP 0-9-1 broker"


def find_redis_problem(settings: RedisSettings) -> str | None:
    """Say PING, with the password if there is one; return what is in the way."""
    parts = urlsplit(settings.url)
    if parts.scheme not in REDIS_PORTS:
        return f"{parts.scheme or 'no scheme'} is not redis or rediss"
    password = unquote(parts.password or "") or (settings.password.reveal() if settings.password else "")
    words = ["AUTH", *([unquote(parts.username)] if parts.username else []), password] if password else ["PING"]
    try:
        with _connect(parts, REDIS_PORTS[parts.scheme], tls=parts.scheme == "rediss") as connection:
            connection.sendall(_resp(words))
            answer = connection.recv(200)
    except OSError as error:
        return f"can't be reached: {error.strerror or error}"
    except ValueError as error:
        return f"its address can't be read: {error}"
    if answer.startswith(b"+"):
        return None
    return answer.decode(errors="replace").strip().removeprefix("-") or "it closes the connection"


def _connect(parts: SplitResult, default_port: int, *, tls: bool) -> socket.socket:
    host = parts.hostname or LOOPBACK
    connection = socket.create_connection((host, parts.port or default_port), timeout=TIMEOUT_SECONDS)
    if not tls:
        return connection
    return ssl.create_default_context().wrap_socket(connection, server_hostname=host)


def _start_ok(username: str, password: str) -> bytes:
    """Return Connection.Start-Ok: one property, mechanism PLAIN, the credentials, and a locale.

    The property asks the broker to say that it refuses us; without it, it would go silent for some seconds first.
    """
    capability = _short("authentication_failure_close") + b"t\x01"
    properties = _short("capabilities") + b"F" + struct.pack(">I", len(capability)) + capability
    response = f"\0{username}\0{password}".encode()
    payload = struct.pack(">HHI", *CONNECTION_START_OK, len(properties)) + properties + _short("PLAIN")
    payload += struct.pack(">I", len(response)) + response + _short("en_US")
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + FRAME_END


def _short(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _read_method(connection: socket.socket) -> tuple[int, int] | None:
    """Return the class and method of the next frame; None when the connection is closed instead."""
    head = _read(connection, 7)
    if len(head) < 7:
        return None
    _kind, _channel, size = struct.unpack(">BHI", head)
    payload = _read(connection, size + len(FRAME_END))
    if len(payload) < 5:
        return None
    return struct.unpack(">HH", payload[:4])


def _read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def _resp(words: list[str]) -> bytes:
    parts = [f"*{len(words)}\r\n".encode()]
    for word in words:
        encoded = word.encode()
        parts.append(b"$%d\r\n%b\r\n" % (len(encoded), encoded))
    return b"".join(parts)
