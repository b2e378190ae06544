"""Settings of a worker and of its engine."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from headrace.schema.settings.models import DEMO_MODEL
from headrace.schema.settings.values import Port, Seconds


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """One worker replica."""

    model: Annotated[str, Meta(description="Served name of the model that this worker runs.")] = DEMO_MODEL
    models: Annotated[
        tuple[str, ...],
        Meta(
            description="Served names of several models that this worker runs at once, with an engine for each; "
            "empty runs worker.model."
        ),
    ] = ()
    consumer_priority: Annotated[
        int,
        Meta(
            ge=-1000,
            le=1000,
            description="x-priority at the broker, on both lanes: give the faster nodes the higher number, and they "
            "are filled first.",
        ),
    ] = 0
    drain_seconds: Annotated[
        Seconds,
        Meta(
            description="On SIGTERM, how long running generations may go on before they are handed back to the queue."
        ),
    ] = 30.0
    batch_patience_seconds: Annotated[
        Seconds,
        Meta(
            description="A generation of the batch lane that has lost this long to pauses is paused no more, and takes "
            "the next free place."
        ),
    ] = 120.0
    metrics_port: Annotated[Port, Meta(description="Port of the worker's own /metrics, on loopback; 0 for none.")] = 0

    @property
    def served(self) -> tuple[str, ...]:
        """The models that this worker runs, each once."""
        return tuple(dict.fromkeys(self.models)) or (self.model,)


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
