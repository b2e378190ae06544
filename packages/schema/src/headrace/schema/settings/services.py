"""Settings of what stands beside our own processes: the broker, Redis, the object store."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from headrace.schema.settings.values import Seconds, Secret

QueueType = Literal["classic", "quorum"]


class BrokerSettings(Struct, frozen=True, kw_only=True):
    """Where tasks, chunks and control messages travel."""

    url: Annotated[
        str,
        Meta(
            description="`memory://` for one process, or `amqp://HOST:PORT/VHOST` (`amqps://` for TLS). "
            "A password in it is refused in the file: see broker.password."
        ),
    ] = "memory://"
    username: Annotated[str, Meta(description="User name at the broker, if it is not in the URL.")] = ""
    password: Annotated[
        Secret | None, Meta(description="Password at the broker. Only from the environment or a file.")
    ] = None
    tls_ca_file: Annotated[
        str,
        Meta(description="Authorities that sign the broker's certificate; empty for those of the system."),
    ] = ""
    tls_certificate_file: Annotated[
        str, Meta(description="Our certificate, where the broker asks its clients for one; empty for none.")
    ] = ""
    tls_key_file: Annotated[
        str, Meta(description="The key of our certificate; empty where the certificate's file holds it.")
    ] = ""
    heartbeat_seconds: Annotated[
        int, Meta(ge=2, le=600, description="AMQP heartbeat: a lost host is noticed after two or three of them.")
    ] = 10
    reconnect_seconds: Annotated[
        Seconds, Meta(description="Longest pause between two tries to connect again; the first are shorter.")
    ] = 3.0
    queue_type: Annotated[
        QueueType,
        Meta(
            description="Kind of the task queues. `quorum` is replicated in a cluster; it has no priorities before "
            "RabbitMQ 4.0, and two levels (above 5, and the rest) before 4.3. Queues that exist must be deleted to "
            "change it; gateways and workers must agree."
        ),
    ] = "classic"


class RedisSettings(Struct, frozen=True, kw_only=True):
    """Redis, when there is one."""

    url: Annotated[str, Meta(description="`redis://HOST:PORT/DB` (`rediss://` for TLS); empty for none.")] = ""
    password: Annotated[Secret | None, Meta(description="Password at Redis. Only from the environment or a file.")] = (
        None
    )
    tls_ca_file: Annotated[
        str,
        Meta(description="Authorities that sign Redis's certificate; empty for those of the system."),
    ] = ""
    tls_certificate_file: Annotated[
        str, Meta(description="Our certificate, where Redis asks its clients for one; empty for none.")
    ] = ""
    tls_key_file: Annotated[
        str, Meta(description="The key of our certificate; empty where the certificate's file holds it.")
    ] = ""


class ObjectSettings(Struct, frozen=True, kw_only=True):
    """The object store, for what is too large for the broker."""

    url: Annotated[
        str,
        Meta(
            description="`s3://BUCKET/FOLDER`, or a folder that gateways and workers share; empty for none: everything "
            "travels through the broker then. Credentials of S3 come from its own variables (`AWS_…`)."
        ),
    ] = ""
    tls_ca_file: Annotated[
        str,
        Meta(description="Authorities that sign the store's certificate; empty for those of the system."),
    ] = ""
    threshold_bytes: Annotated[
        int,
        Meta(
            ge=1024,
            description="A larger request, or a larger part of an answer, travels through the object store, in bytes.",
        ),
    ] = 128 * 1024
    expire_seconds: Annotated[
        Seconds, Meta(description="What a process that died has left there is removed after this time.")
    ] = 86400.0
