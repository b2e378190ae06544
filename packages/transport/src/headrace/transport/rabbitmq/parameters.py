# pika's types are partial; what leaves this module is typed.
# pyright: reportUnknownMemberType=false, reportUnknownLambdaType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""From the settings to pika's connection parameters, and to words about them that may be logged."""

from typing import Any
from urllib.parse import urlsplit

import pika

from headrace.schema.settings import BrokerSettings
from headrace.transport.tls import TlsFiles, make_client_context

CONNECT_TIMEOUT_SECONDS = 5


def build_parameters(settings: BrokerSettings, *, name: str) -> pika.URLParameters:
    """Return the parameters for one connection.

    Args:
        settings: where the broker is.
        name: what the broker's console calls the connection.

    Raises:
        ValueError: the URL can't be used.
    """
    try:
        parameters = pika.URLParameters(settings.url)
    except (ValueError, TypeError) as error:
        raise ValueError(f"broker.url: not a usable amqp:// URL: {error}") from None
    files = TlsFiles(
        ca_file=settings.tls_ca_file, certificate_file=settings.tls_certificate_file, key_file=settings.tls_key_file
    )
    if (context := make_client_context(files, url=settings.url, section="broker")) is not None:
        parameters.ssl_options = pika.SSLOptions(context, parameters.host)
    in_url: Any = parameters.credentials
    username = settings.username or str(in_url.username)
    password = settings.password.reveal() if settings.password else str(in_url.password)
    parameters.credentials = pika.PlainCredentials(username, password)
    parameters.heartbeat = settings.heartbeat_seconds
    parameters.socket_timeout = CONNECT_TIMEOUT_SECONDS
    parameters.stack_timeout = CONNECT_TIMEOUT_SECONDS * 2
    parameters.blocked_connection_timeout = None
    parameters.client_properties = {"connection_name": name, "product": "headrace"}
    return parameters


def check_url(settings: BrokerSettings) -> None:
    """Raise ValueError, naming the setting, unless the URL can be used."""
    if not settings.url.startswith(("amqp://", "amqps://")):
        raise ValueError(f"broker.url: {describe_broker(settings)} is neither memory:// nor amqp://HOST:PORT/VHOST")
    build_parameters(settings, name="check")


def describe_broker(settings: BrokerSettings) -> str:
    """Return where the broker is, without who we are there."""
    parts = urlsplit(settings.url)
    return f"{parts.scheme}://{parts.hostname or ''}:{parts.port or 5672}{parts.path}"
