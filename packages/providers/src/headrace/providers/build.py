"""From settings to a provider."""

import ssl

from headrace.providers.anthropic.vendor import VERSION, AnthropicVendor
from headrace.providers.base import Provider
from headrace.providers.failing import Complaints
from headrace.providers.gemini.vendor import GeminiVendor
from headrace.providers.http import HttpUpstream
from headrace.providers.openai.vendor import OpenAIVendor
from headrace.providers.provider import HttpProvider
from headrace.providers.scripted import ScriptedProvider
from headrace.providers.vendor import Vendor
from headrace.schema.settings import ProviderSettings
from headrace.transport.tls import TlsFiles, make_client_context

_VENDORS: dict[str, type[OpenAIVendor | AnthropicVendor | GeminiVendor]] = {
    "openai": OpenAIVendor,
    "anthropic": AnthropicVendor,
    "gemini": GeminiVendor,
}
_KEY_HEADERS = {"openai": "Authorization", "anthropic": "X-Api-Key", "gemini": "X-Goog-Api-Key"}
_BEARER_HEADER = "authorization"


def build_provider(name: str, settings: ProviderSettings) -> Provider:
    """Return a provider. It reaches nobody before its first call, and whoever has it closes it.

    Args:
        name: as the settings call it.
        settings: its own, which have been checked.

    Raises:
        ValueError: a file of TLS can't be used; the message names the setting.
    """
    if settings.kind == "scripted":
        return ScriptedProvider(name)
    complaints = Complaints(name, None if settings.api_key is None else settings.api_key.reveal())
    vendor: Vendor = _VENDORS[settings.kind](name, settings, complaints)
    upstream = HttpUpstream(settings, headers=_to_headers(settings), tls=_to_tls(name, settings), complaints=complaints)
    return HttpProvider(name, vendor=vendor, upstream=upstream, complaints=complaints)


def _to_tls(name: str, settings: ProviderSettings) -> ssl.SSLContext | None:
    files = TlsFiles(
        ca_file=settings.tls_ca_file, certificate_file=settings.tls_certificate_file, key_file=settings.tls_key_file
    )
    return make_client_context(files, url=settings.url, section=f"providers.{name}")


def _to_headers(settings: ProviderSettings) -> dict[str, str]:
    headers = {"User-Agent": "headrace"}
    if settings.kind == "anthropic":
        headers["Anthropic-Version"] = VERSION
    headers |= settings.headers
    if settings.api_key is not None:
        header = settings.api_key_header or _KEY_HEADERS[settings.kind]
        key = settings.api_key.reveal()
        headers[header] = f"Bearer {key}" if header.lower() == _BEARER_HEADER else key
    return headers
