"""A client that speaks HTTP by hand, so that it can be rude."""

import socket

import msgspec


def encode_call(path: str, body: object) -> bytes:
    content = msgspec.json.encode(body)
    return (
        f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    ).encode() + content


def connect(port: int) -> socket.socket:
    """Return a connection with the smallest of receive buffers, so that a client that does not read is soon felt."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect(("127.0.0.1", port))
    client.setblocking(False)
    return client
