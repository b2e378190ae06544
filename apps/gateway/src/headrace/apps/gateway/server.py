"""uvicorn, started and stopped by us."""

import asyncio
import errno
import ipaddress
import socket
import ssl
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import uvicorn
from litestar import Litestar
from msgspec import structs

from headrace.apps.gateway.protocol import BoundedHttpProtocol
from headrace.gateway.hosts import LOOPBACK_HOSTS
from headrace.schema.settings import GatewaySettings, SettingsError

BACKLOG = 2048
# After the drain every stream has been given its last event; this is for the bytes to leave.
FLUSH_SECONDS = 5
# No browser is to guess what an answer is, to show it inside another page, or to tell anybody where it came from.
SECURITY_HEADERS = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
]


def check_exposure(settings: GatewaySettings) -> None:
    """Refuse to listen beyond loopback without a key, or with a certificate that can't be used.

    Raises:
        SettingsError: naming the ways out.
    """
    _check_certificate(settings)
    if settings.api_key or _is_loopback(settings.host):
        return
    raise SettingsError(
        [
            f"gateway.host: {settings.host} can be reached from other machines, and no API key is set. "
            "Set HEADRACE_API_KEY (or HEADRACE_API_KEY_FILE), or listen on 127.0.0.1."
        ]
    )


def _check_certificate(settings: GatewaySettings) -> None:
    if not settings.tls_certificate_file:
        if settings.tls_key_file:
            raise SettingsError(["gateway.tls_key_file: there is no gateway.tls_certificate_file to go with it"])
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file or None)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise SettingsError([f"gateway.tls_certificate_file: can't be used: {reason}"]) from None


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


def guard_hosts(settings: GatewaySettings) -> GatewaySettings:
    """Return the settings with the names of loopback as those that are answered, where no key is asked for."""
    if settings.api_key or settings.allowed_hosts or not _is_loopback(settings.host):
        return settings
    return structs.replace(settings, allowed_hosts=(*sorted(LOOPBACK_HOSTS), settings.host))


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
        "headers": SECURITY_HEADERS,
        "timeout_graceful_shutdown": int(settings.drain_seconds) + FLUSH_SECONDS,
    }
    if settings.tls_certificate_file:
        options |= {"ssl_certfile": settings.tls_certificate_file, "ssl_keyfile": settings.tls_key_file or None}
    return GatewayServer(uvicorn.Config(app, **options))


async def stop_server(server: GatewayServer, serving: "asyncio.Task[None]", *, seconds: float) -> bool:
    """Accept no more connections and wait for those that run; tell whether all of them ended in time."""
    server.should_exit = True
    done, _ = await asyncio.wait({serving}, timeout=seconds)
    return bool(done)
