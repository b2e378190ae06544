"""What can be said on the command line of `headrace serve`."""

from msgspec import Struct


class ServeOptions(Struct, frozen=True, kw_only=True):
    """How to serve; None leaves it to the settings.

    Attributes:
        port: the gateway's port; 0 takes a free one.
        host: the address to listen on.
        models: served names of the models to run.
        engine: `vllm` or `scripted`.
        config: the settings file.
    """

    port: int | None = None
    host: str | None = None
    models: tuple[str, ...] = ()
    engine: str | None = None
    config: str | None = None
