"""uvicorn, started and stopped by us."""

import asyncio
import errno
import ipaddress
import socket
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from litestar import Litestar

from headrace.apps.gateway.protocol import BoundedHttpProtocol
from headrace.schema.settings import GatewaySettings, SettingsError

BACKLOG = 2048
# After the drain every stream has been given its last event; this is for the bytes to leave.
FLUSH_SECONDS = 5


def check_exposure(settings: GatewaySettings) -> None:
    """Refuse to listen beyond loopback without a key.

    Raises:
        SettingsError: naming both ways out.
    """
    if settings.api_key or _is_loopback(settings.host):
        return
    raise SettingsError(
        [
            f"gateway.host: {settings.host} can be reached from other machines, and no API key is set. "
            "Set HEADRACE_API_KEY (or HEADRACE_API_KEY_FILE), or listen on 127.0.0.1."
        ]
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_socket(settings: GatewaySettings) -> socket.socket:
    """Open the listening socket.

    Raises:
        SettingsError: the address can't be had; it says why and what to do.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=BACKLOG)
    except OSError as error:
        is_taken = error.errno == errno.EADDRINUSE
        hint = f"; is something else running there? Try --port {settings.port + 1}" if is_taken else ""
        raise SettingsError(
            [f"gateway.port: can't listen on {settings.host}:{settings.port}: {error.strerror}{hint}"]
        ) from None


class GatewayServer(uvicorn.Server):
    """A uvicorn server that leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture nothing: the process turns signals into a drain."""
        yield


def build_server(app: Litestar, settings: GatewaySettings) -> GatewayServer:
    """Return a server that is not running yet."""
    options: dict[str, Any] = {
        "http": BoundedHttpProtocol,
        "loop": "none",
        "ws": "none",
        "lifespan": "on",
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "backlog": BACKLOG,
        "timeout_graceful_shutdown": int(settings.drain_seconds) + FLUSH_SECONDS,
    }
    return GatewayServer(uvicorn.Config(app, **options))


async def stop_server(server: GatewayServer, serving: "asyncio.Task[None]", *, seconds: float) -> bool:
    """Accept no more connections and wait for those that run; tell whether all of them ended in time."""
    server.should_exit = True
    done, _ = await asyncio.wait({serving}, timeout=seconds)
    return bool(done)
