"""Settings of the HTTP side."""

from typing import Annotated

from msgspec import Meta, Struct

from headrace.schema.settings.values import Port, Seconds, Secret


class GatewaySettings(Struct, frozen=True, kw_only=True):
    """The HTTP side."""

    host: Annotated[str, Meta(description="Address to listen on. Any but loopback needs an API key.")] = "127.0.0.1"
    port: Annotated[Port, Meta(description="Port to listen on; 0 takes a free one.")] = 8000
    body_limit_bytes: Annotated[
        int, Meta(ge=1024, le=2**30, description="A larger request body is refused with 413, in bytes.")
    ] = 4 * 1024 * 1024
    header_wait_seconds: Annotated[
        Seconds,
        Meta(
            description="How long a stream waits for its first event, so that an early failure still has its own HTTP "
            "status. After that the answer begins, and a failure is an error event."
        ),
    ] = 2.0
    keepalive_seconds: Annotated[
        Seconds,
        Meta(
            description="A stream without events sends an SSE comment this often, to keep proxies awake; while it "
            "waits for a worker the comment says its position and the expected wait."
        ),
    ] = 15.0
    drain_seconds: Annotated[
        Seconds, Meta(description="On SIGTERM or Ctrl-C, how long running streams may go on before they are ended.")
    ] = 30.0
    response_store_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Memory for the responses of /v1/responses that are kept to be fetched and continued, with "
            "their conversations, in bytes; the oldest go first, and 0 keeps none. With redis.url they are kept there, "
            "and this bounds each.",
        ),
    ] = 64 * 1024 * 1024
    response_store_count: Annotated[int, Meta(ge=1, description="Most responses that are kept in memory.")] = 10_000
    response_store_seconds: Annotated[Seconds, Meta(description="How long a response is kept.")] = 3600.0
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Values of the Host header that are answered. Empty: any, or, while no key is asked for, those "
            "of loopback, so that no page of another site can reach this machine through a name of its own."
        ),
    ] = ()
    tls_certificate_file: Annotated[
        str, Meta(description="Certificate to speak HTTPS with; empty for HTTP, where a proxy in front speaks HTTPS.")
    ] = ""
    tls_key_file: Annotated[
        str, Meta(description="The key of the certificate; empty where the certificate's file holds it.")
    ] = ""
    api_key: Annotated[
        Secret | None,
        Meta(description="Bearer key that every request must carry. Only from the environment or a file."),
    ] = None
