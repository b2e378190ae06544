"""Settings of the outside providers.

What is sent where is a matter of privacy and of money, so an address is judged here, by what is written and without
asking a name server: a key travels in clear text only to this machine or this network, unless an operator allows it.
"""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct, field

from headrace.schema.settings.values import Seconds, Secret

VENDOR_URLS: dict[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com/v1beta",
    "scripted": "http://127.0.0.1",
}
_SECRET_WORDS = ("authorization", "cookie", "key", "password", "secret", "token")
_SECRET_BEGINNINGS = ("basic ", "bearer ", "sk-")
_HEADER_MARKS = frozenset("!#$%&'*+-.^_`|~")
# Ours to say: the length and the form of what we send, and whom we mean to reach.
_OUR_HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding"}
)


class ProviderSettings(Struct, frozen=True, kw_only=True):
    """One outside provider."""

    kind: Annotated[
        Literal["openai", "anthropic", "gemini", "scripted"],
        Meta(
            description="Whose API it speaks. `openai` is also vLLM, Mistral, DeepSeek, Groq, OpenRouter, Azure and "
            "every other server of that API; `scripted` is a double for demos, which reaches nobody."
        ),
    ]
    base_url: Annotated[
        str,
        Meta(
            description="Where it is; empty for the vendor's own address. It must be `https:`, unless the host is "
            "loopback, a private address, or allowed by allow_http. A query is sent along with each call."
        ),
    ] = ""
    allow_http: Annotated[
        bool, Meta(description="Send the key and the prompts in clear text to a host that is neither.")
    ] = False
    is_local: Annotated[
        bool | None,
        Meta(
            description="Whether it stands on your own premises, so that private requests may go there. "
            "None: if base_url names a loopback or private address."
        ),
    ] = None
    api_key: Annotated[
        Secret | None, Meta(description="Key of your account there. Only from the environment or a file.")
    ] = None
    api_key_header: Annotated[
        str,
        Meta(
            description="Header that carries the key, if not the vendor's own: `api-key` for Azure. "
            "`Authorization` carries it as a bearer token."
        ),
    ] = ""
    headers: Annotated[
        dict[str, str],
        Meta(description="Further headers of each call, `OpenAI-Organization` for example. Secrets are refused here."),
    ] = field(default_factory=dict[str, str])
    tls_ca_file: Annotated[
        str, Meta(description="Authorities that sign its certificate; empty for those of the system.")
    ] = ""
    tls_certificate_file: Annotated[
        str, Meta(description="Our certificate, where it asks its clients for one; empty for none.")
    ] = ""
    tls_key_file: Annotated[
        str, Meta(description="The key of our certificate; empty where the certificate's file holds it.")
    ] = ""
    connect_seconds: Annotated[Seconds, Meta(description="How long to wait for a connection, TLS included.")] = 5.0
    first_token_seconds: Annotated[
        Seconds,
        Meta(description="How long to wait for the first piece of an answer. Some models think before it, unheard."),
    ] = 120.0
    idle_seconds: Annotated[Seconds, Meta(description="How long an answer may pause.")] = 60.0
    max_connections: Annotated[
        int, Meta(ge=1, le=65535, description="Calls at once; one more is refused, and may go elsewhere.")
    ] = 512
    vllm_fields: Annotated[
        bool,
        Meta(
            description="For `openai`: this server takes vLLM's further fields, so that top_k, min_p, regular "
            "expressions, choices and grammars can be sent."
        ),
    ] = False
    omit_fields: Annotated[
        tuple[str, ...],
        Meta(description="Fields of the body that this server refuses; they are left out: `stream_options`, …"),
    ] = ()
    default_max_tokens: Annotated[
        int,
        Meta(ge=1, le=2**31 - 1, description="For `anthropic`, whose API demands a limit: that of a request without."),
    ] = 4096
    thinking_tokens: Annotated[
        int,
        Meta(
            ge=0,
            le=2**31 - 1,
            description="For `anthropic`: budget for thoughts where a request asks for reasoning, for models without "
            "adaptive thinking, at least 1024; 0 lets the model decide.",
        ),
    ] = 0

    models: Annotated[
        tuple[str, ...],
        Meta(
            description="Its models that are served without a route, by its own names: `gpt-x` of `openai` is then "
            "`openai/gpt-x` to clients. Empty serves what routes name, and nothing else."
        ),
    ] = ()

    @property
    def url(self) -> str:
        """Where it is, the vendor's own address filled in, without a slash at the end."""
        return (self.base_url or VENDOR_URLS[self.kind]).rstrip("/")

    @property
    def counts_as_local(self) -> bool:
        """Whether private requests may go there."""
        if self.is_local is not None:
            return self.is_local
        return self.kind == "scripted" or is_near(urlsplit(self.url).hostname or "")


def is_near(host: str) -> bool:
    """Tell whether a host is this machine or in a private network, by its name or number alone.

    A name says nothing of where it leads, so all but `localhost` are far.
    """
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or (address.is_private and not address.is_unspecified)


def list_problems(providers: Mapping[str, ProviderSettings]) -> Iterator[tuple[str, str]]:
    """Yield what types alone can't say of these settings: the path of the setting, and what is wrong with it."""
    for name, settings in providers.items():
        if problem := _problem_of_url(settings):
            yield f"providers.{name}.base_url", problem
        for header, value in settings.headers.items():
            if problem := _problem_of_header(header, value):
                yield f"providers.{name}.headers", problem
        if settings.api_key_header and not _is_token(settings.api_key_header):
            yield f"providers.{name}.api_key_header", "it is not the name of a header"
        if settings.api_key is not None and not _is_line(settings.api_key.reveal()):
            yield f"providers.{name}.api_key", "it has characters that no header can carry"
        if 0 < settings.thinking_tokens < 1024:
            yield f"providers.{name}.thinking_tokens", "it must be 0 or at least 1024"


def _problem_of_url(settings: ProviderSettings) -> str | None:
    try:
        parts = urlsplit(settings.url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is not a URL"
    if parts.scheme not in ("http", "https") or not host:
        return "it must be an https: URL"
    if "@" in parts.netloc:
        return "it must not hold a user or a password; set api_key"
    if parts.fragment:
        return "it must not have a fragment"
    if parts.scheme == "http" and not (is_near(host) or settings.allow_http):
        return "it must be https:, because the key would travel in clear text; or set allow_http"
    return None


def _problem_of_header(name: str, value: str) -> str | None:
    if not _is_token(name) or not _is_line(value):
        return f"{name!r} or its value can't be sent as a header"
    if name.lower() in _OUR_HEADERS:
        return f"{name} is set by Headrace"
    if any(word in name.lower() for word in _SECRET_WORDS) or value.lower().startswith(_SECRET_BEGINNINGS):
        return f"{name} looks like a secret and may not be among the headers; use api_key, and api_key_header"
    return None


def _is_token(text: str) -> bool:
    return bool(text) and text.isascii() and all(mark.isalnum() or mark in _HEADER_MARKS for mark in text)


def _is_line(text: str) -> bool:
    return text.isascii() and text.isprintable()
