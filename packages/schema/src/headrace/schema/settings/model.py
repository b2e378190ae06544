"""Every setting, with its type, its limits, its default and one line that says what it does.

The description in each `Meta` is the documentation: the table in docs/operations.md is written from it, and a test
holds the two together.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from headrace.schema.task import MAX_PRIORITY

DEMO_MODEL = "smollm2-135m-instruct"

Port = Annotated[int, Meta(ge=0, le=65535)]
Seconds = Annotated[float, Meta(gt=0, le=86400.0)]


class Secret:
    """A value that is never shown: it has no repr, and must be asked for by name."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the secret, for the one place that needs it."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('…')"

    def __bool__(self) -> bool:
        return bool(self._value)


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
        Seconds, Meta(description="A stream without events sends an SSE comment this often, to keep proxies awake.")
    ] = 15.0
    drain_seconds: Annotated[
        Seconds, Meta(description="On SIGTERM or Ctrl-C, how long running streams may go on before they are ended.")
    ] = 30.0
    response_store_bytes: Annotated[
        int,
        Meta(
            ge=0,
            description="Memory for the responses of /v1/responses that are kept to be fetched and continued, with "
            "their conversations, in bytes; the oldest go first, and 0 keeps none.",
        ),
    ] = 64 * 1024 * 1024
    response_store_count: Annotated[int, Meta(ge=1, description="Most responses that are kept.")] = 10_000
    response_store_seconds: Annotated[Seconds, Meta(description="How long a response is kept.")] = 3600.0
    api_key: Annotated[
        Secret | None,
        Meta(description="Bearer key that every request must carry. Only from the environment or a file."),
    ] = None


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
    heartbeat_seconds: Annotated[
        int, Meta(ge=2, le=600, description="AMQP heartbeat: a lost host is noticed after two of them.")
    ] = 10
    reconnect_seconds: Annotated[
        Seconds, Meta(description="Longest pause between two tries to connect again; the first are shorter.")
    ] = 3.0


class RedisSettings(Struct, frozen=True, kw_only=True):
    """Redis, when there is one."""

    url: Annotated[str, Meta(description="`redis://HOST:PORT/DB` (`rediss://` for TLS); empty for none.")] = ""
    password: Annotated[Secret | None, Meta(description="Password at Redis. Only from the environment or a file.")] = (
        None
    )


class ObjectSettings(Struct, frozen=True, kw_only=True):
    """The object store, for what is too large for the broker."""

    url: Annotated[
        str,
        Meta(
            description="`s3://BUCKET/FOLDER`, or a folder that gateways and workers share; empty for none: everything "
            "travels through the broker then. Credentials of S3 come from its own variables (`AWS_…`)."
        ),
    ] = ""
    threshold_bytes: Annotated[
        int, Meta(ge=1024, description="A larger request travels through the object store, in bytes.")
    ] = 128 * 1024
    expire_seconds: Annotated[
        Seconds, Meta(description="What a process that died has left there is removed after this time.")
    ] = 86400.0


class SchedulerSettings(Struct, frozen=True, kw_only=True):
    """From a request to a task."""

    request_timeout_seconds: Annotated[
        Seconds,
        Meta(
            description="A request that has not ended after this time fails with deadline_exceeded. "
            "The header Headrace-Timeout-Seconds sets it for one request, up to max_request_timeout_seconds."
        ),
    ] = 600.0
    max_request_timeout_seconds: Annotated[
        Seconds, Meta(description="Most that the header Headrace-Timeout-Seconds may ask for.")
    ] = 3600.0
    default_priority: Annotated[
        int,
        Meta(
            ge=0,
            le=MAX_PRIORITY,
            description="Priority of a request without the header Headrace-Priority; higher goes first.",
        ),
    ] = 5
    publish_wait_seconds: Annotated[
        Seconds,
        Meta(
            description="How long a request waits for a broker that was lost before it fails with 503; one that was "
            "never there is waited for at most 2 seconds."
        ),
    ] = 60.0
    max_attempts: Annotated[
        int,
        Meta(ge=1, le=100, description="Workers that may be lost under one request before it fails with worker_lost."),
    ] = 3
    max_in_flight: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Requests one gateway holds at once; one more is refused with 429.")
    ] = 10_000


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """One worker replica."""

    model: Annotated[str, Meta(description="Served name of the model that this worker runs.")] = DEMO_MODEL
    consumer_priority: Annotated[
        int,
        Meta(
            ge=-1000,
            le=1000,
            description="x-priority at the broker: give the faster nodes the higher number, and they are filled first.",
        ),
    ] = 0
    drain_seconds: Annotated[
        Seconds,
        Meta(
            description="On SIGTERM, how long running generations may go on before they are handed back to the queue."
        ),
    ] = 30.0
    metrics_port: Annotated[Port, Meta(description="Port of the worker's own /metrics, on loopback; 0 for none.")] = 0


class EngineSettings(Struct, frozen=True, kw_only=True):
    """The engine, for every model that does not say otherwise."""

    kind: Annotated[
        Literal["vllm", "scripted"],
        Meta(description="`vllm`, or `scripted`, which plays a script: for tests, demos and load."),
    ] = "vllm"
    script: Annotated[
        str, Meta(description="A file with the script of the scripted engine; empty for its built-in one.")
    ] = ""
    cpu_threads: Annotated[
        int, Meta(ge=0, le=1024, description="Threads of the engine on a CPU; 0 takes every core.")
    ] = 0


class StorageSettings(Struct, frozen=True, kw_only=True):
    """Local files."""

    folder: Annotated[
        str, Meta(description="Folder for weights, logs and state; a relative one is below the working folder.")
    ] = ".headrace"


class LogSettings(Struct, frozen=True, kw_only=True):
    """The log. Prompts and answers are never in it."""

    level: Annotated[Literal["debug", "info", "warning", "error"], Meta(description="Least level that is written.")] = (
        "info"
    )
    format: Annotated[
        Literal["auto", "json", "console"],
        Meta(description="`auto` is console on a terminal and json elsewhere."),
    ] = "auto"


class ModelSettings(Struct, frozen=True, kw_only=True):
    """One served model."""

    weights: Annotated[
        str,
        Meta(
            description="A folder with safetensors, or `s3://BUCKET/FOLDER` (fetched once to this node), or "
            "`demo:smollm2-135m-instruct`, or `tiny:random` (for tests)."
        ),
    ]
    engine: Annotated[
        Literal["default", "vllm", "scripted"],
        Meta(description="The engine of this model; `default` is what engine.kind says."),
    ] = "default"
    slots: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            description="Generations that one worker runs at once: its prefetch, and the engine's batch.",
        ),
    ] = 16
    max_model_tokens: Annotated[
        int, Meta(ge=16, le=2**31 - 1, description="Context length, prompt and output together, in tokens.")
    ] = 2048
    kv_cache_bytes: Annotated[
        int,
        Meta(ge=0, description="Memory for the KV cache in bytes; 0 lets the engine decide (on a CPU: 512 MiB)."),
    ] = 0
    created: Annotated[
        int, Meta(ge=0, description="When the model was made, Unix seconds, as /v1/models shows it.")
    ] = 1730419200
    owned_by: Annotated[str, Meta(description="Owner, as /v1/models shows it.")] = "headrace"
    task: Annotated[
        Literal["generate", "embed"],
        Meta(description="`generate` answers; `embed` makes embeddings, and takes no chat."),
    ] = "generate"
    tool_parser: Annotated[
        str,
        Meta(
            description="vLLM's parser of tool calls in what the model writes: hermes, llama3_json, …; "
            "`auto` chooses by the model's chat template."
        ),
    ] = "auto"
    reasoning_parser: Annotated[
        str,
        Meta(
            description="Which parser of vLLM tells reasoning from the answer: qwen3, deepseek_r1, …; "
            "empty for a model that does not think aloud."
        ),
    ] = ""
    adapters: Annotated[
        dict[str, str],
        Meta(description="LoRA adapters: a served name of its own for each, and the folder with its weights."),
    ] = field(default_factory=dict[str, str])
    engine_options: Annotated[
        dict[str, Any],
        Meta(description="Further arguments for the engine, by its own names; only the engine checks them."),
    ] = field(default_factory=dict[str, Any])


def demo_models() -> dict[str, ModelSettings]:
    """Return the models that are served when the settings name none."""
    return {DEMO_MODEL: ModelSettings(weights=f"demo:{DEMO_MODEL}")}


def served_names(models: Mapping[str, ModelSettings]) -> dict[str, str]:
    """Return every name that a request may ask for, with the model whose workers answer: models, and their adapters."""
    names = {name: name for name in models}
    for name, model in models.items():
        for adapter in model.adapters:
            names.setdefault(adapter, name)
    return names


class Settings(Struct, frozen=True, kw_only=True):
    """All settings of one process."""

    gateway: GatewaySettings = GatewaySettings()
    broker: BrokerSettings = BrokerSettings()
    redis: RedisSettings = RedisSettings()
    objects: ObjectSettings = ObjectSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    worker: WorkerSettings = WorkerSettings()
    engine: EngineSettings = EngineSettings()
    storage: StorageSettings = StorageSettings()
    log: LogSettings = LogSettings()
    models: dict[str, ModelSettings] = field(default_factory=demo_models)
