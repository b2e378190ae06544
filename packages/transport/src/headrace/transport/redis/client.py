"""Clients of Redis, made in one way."""

from typing import Any

import redis.asyncio

from headrace.schema.settings import RedisSettings
from headrace.transport.tls import TlsFiles, make_client_context

TIMEOUT_SECONDS = 2.0


def open_client(settings: RedisSettings, *, answers_seconds: float | None = TIMEOUT_SECONDS) -> "redis.asyncio.Redis":
    """Return a client with one connection, which it opens when it is first used.

    Args:
        settings: where Redis is; the URL must not be empty.
        answers_seconds: how long to wait for an answer; None for one that listens.

    Raises:
        ValueError: the URL can't be used.
    """
    password = settings.password.reveal() if settings.password else None
    options: dict[str, Any] = {} if password is None else {"password": password}
    options |= _tls_options(settings)
    try:
        return redis.asyncio.Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            settings.url,
            socket_timeout=answers_seconds,
            socket_connect_timeout=TIMEOUT_SECONDS,
            max_connections=1,
            **options,
        )
    except ValueError as error:
        raise ValueError(f"redis.url: not a usable redis:// URL: {error}") from None


def _tls_options(settings: RedisSettings) -> dict[str, Any]:
    """Return what the client takes for TLS; the files are tried here, so that a mistake names its setting."""
    files = TlsFiles(
        ca_file=settings.tls_ca_file, certificate_file=settings.tls_certificate_file, key_file=settings.tls_key_file
    )
    if make_client_context(files, url=settings.url, section="redis") is None:
        return {}
    options: dict[str, Any] = {"ssl_check_hostname": True}
    if files.ca_file:
        options["ssl_ca_certs"] = files.ca_file
    if files.certificate_file:
        options |= {"ssl_certfile": files.certificate_file, "ssl_keyfile": files.key_file or files.certificate_file}
    return options
