"""What the commands share."""

from msgspec import Struct

from headrace.schema.names import Lane


class DeadOptions(Struct, frozen=True, kw_only=True):
    """Which dead letters, and how they are shown.

    Attributes:
        config: the settings file, where one is named.
        model: only this model's; None for every model of the settings.
        lane: only this lane's; None for both.
        as_json: print JSON.
    """

    config: str | None = None
    model: str | None = None
    lane: Lane | None = None
    as_json: bool = False
