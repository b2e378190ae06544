"""What can be said on the command line of `headrace stack`."""

from msgspec import Struct


class StackOptions(Struct, frozen=True, kw_only=True):
    """How big a stack to run; None leaves it to the settings.

    Attributes:
        port: of the first gateway; the other ports follow from it.
        workers: how many worker processes.
        engine: `vllm` or `scripted`.
        model: served name of the model that the workers run.
        config: the settings file.
        management: whether RabbitMQ's management page runs as well.
    """

    port: int | None = None
    workers: int = 2
    engine: str | None = None
    model: str | None = None
    config: str | None = None
    management: bool = False
