"""TLS towards the services, from files that the settings name."""

import ssl
from urllib.parse import urlsplit

from msgspec import Struct

_PLAIN_SCHEMES = ("amqp", "redis", "http")


class TlsFiles(Struct, frozen=True, kw_only=True):
    """Whom to trust, and who we are.

    Attributes:
        ca_file: certificates of the authorities that are trusted; empty for those of the system.
        certificate_file: our own certificate, where the service asks for one; empty for none.
        key_file: its key; empty where the certificate's file holds it.
    """

    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""


def make_client_context(files: TlsFiles, *, url: str, section: str) -> ssl.SSLContext | None:
    """Return what checks a service's certificate and its name; None where the URL is not one of TLS.

    Args:
        files: whom to trust, and who we are.
        url: where the service is; its scheme says whether TLS is spoken.
        section: of the settings, for messages.

    Raises:
        ValueError: a file can't be used, or files are set where no TLS is spoken.
    """
    scheme = urlsplit(url).scheme
    if scheme in _PLAIN_SCHEMES:
        if any((files.ca_file, files.certificate_file, files.key_file)):
            raise ValueError(f"{section}.url: {scheme}:// speaks no TLS, and {section}.tls_… is set: use {scheme}s://")
        return None
    try:
        context = ssl.create_default_context(cafile=files.ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ValueError(f"{section}.tls_ca_file: can't be used: {_reason(error)}") from None
    if files.key_file and not files.certificate_file:
        raise ValueError(f"{section}.tls_key_file: there is no {section}.tls_certificate_file to go with it")
    if files.certificate_file:
        try:
            context.load_cert_chain(files.certificate_file, files.key_file or None)
        except (OSError, ssl.SSLError) as error:
            raise ValueError(f"{section}.tls_certificate_file: can't be used: {_reason(error)}") from None
    return context


def _reason(error: OSError) -> str:
    return error.strerror or getattr(error, "reason", "") or type(error).__name__
